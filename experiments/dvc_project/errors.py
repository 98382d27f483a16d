"""What goes wrong outside of any stage, said for people."""


class ProjectError(Exception):
    """DVC stopped outside of any stage, most often before anything ran; the text says why."""


class Transient(ProjectError):
    """What may pass by itself: a lock that is held, a remote out of reach. Deployments retry it."""


class Silent(ProjectError):
    """A stage that has said nothing for longer than it may."""


class EndedEarly(ProjectError):
    """An experiment that was ended before it was done, because it promised too little."""
