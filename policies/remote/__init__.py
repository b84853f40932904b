"""Policies that answer from elsewhere: clients of other people's policy servers, one small file per wire format.

A wire format says how an observation is encoded, an answer decoded and a conversation begun (`base.Wire`); `link` keeps the
connection, with its deadline and its retries, the same for all; `policy` puts a recipe around both. Nothing that arrives is
trusted: an array is made of a checked dtype, shape and number of bytes, no object is ever unpickled, and what is not understood is
a `WireError`.
"""
