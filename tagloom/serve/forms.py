"""The forms that routes take, and how they refuse, in the words of OpenAPI.

The forms are read as they stream in (``tagloom.serve.upload``), which FastAPI cannot see.
"""

from typing import Any

from tagloom.serve.schemas import Problem

REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": description}
    for status, description in {
        400: "The form is broken, or broke off",
        403: "A page of another site asks",
        408: "The form did not arrive in time",
        413: "More bytes, photos or letters than there may be",
        415: "No form",
        422: "The form has not what the model needs, or no photo of it can be read",
        429: "Too much is being asked; Retry-After says when to ask again",
    }.items()
}

PHOTO = {"type": "string", "contentMediaType": "image/*", "format": "binary"}
CAPTION = {"type": "string", "maxLength": 2000}


def _form(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
    content = {"schema": schema, "encoding": {"photos": {"contentType": "image/*"}}}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": content}}}


PHOTOS = {
    "type": "array",
    "items": PHOTO,
    "minItems": 1,
    "description": "Files of photos, in any format that Pillow reads",
}
CAPTIONS = {
    "type": "array",
    "items": CAPTION,
    "description": "One for each photo, in the same order; empty where there is none",
}
PREDICT = _form(
    {
        "photos": PHOTOS,
        "captions": CAPTIONS,
        "threshold": {
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "description": "One for all labels, instead of each label's own",
        },
    },
    ["photos"],
)
EXPLAIN = _form(
    {
        "photos": PHOTOS | {"maxItems": 1},
        "captions": CAPTIONS | {"maxItems": 1},
        "label": {"type": "string", "description": "As GET /labels names it"},
    },
    ["photos", "label"],
)
HEAT: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"image/png": {"schema": {"type": "string", "contentMediaType": "image/png"}}},
        "description": "The heat map",
    },
    404: {"model": Problem, "description": "The model draws no heat maps"},
}
