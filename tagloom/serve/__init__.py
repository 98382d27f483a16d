"""``tagloom serve``: a model as an HTTP service on this machine, with a page to try it."""
