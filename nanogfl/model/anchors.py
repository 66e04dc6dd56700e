"""stand-in until the helper's is merged"""

ANCHORS = 9


def make_anchors(*a):
    raise NotImplementedError
