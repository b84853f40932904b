"""One evaluation: its plan handed to workers and a policy until every episode has its result."""
