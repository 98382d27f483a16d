"""A new model against the one in use: better on photos that neither was trained on?"""
