"""Where something enters from outside: files, settings and texts, checked once here and trusted inside.

Everything that vlagym reads and did not compute is read through this room: files with limits and one schema per kind (msgspec),
settings against the declaration of who takes them, and texts made harmless before a terminal or a page shows them.

Which keys of a mapping may be unknown: a *record* (what came of something: run.json, episodes.jsonl, a checkpoint's JSON, somebody
else's results) may have more keys than this version knows, because a newer one may have added them; they are left alone. *Settings*
(config.yaml, what suites and policies take, the command line) may not: an unknown one would change what is run without a word.
"""
