"""The command: a trained model at work on photos that were never in the data set.

It needs a bundle (``models/bundle/``), and of the stages only what reads it. A module a
subcommand; each imports what takes its time to import only once it is asked for.
"""
