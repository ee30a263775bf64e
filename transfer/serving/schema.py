"""What is answered, as the OpenAPI document describes it."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from transfer.serving.uploads import FIELD, TYPES

Probability = Annotated[float, Field(ge=0, le=1.001)]  # the sum of float32s may be a little more than 1


class Said(BaseModel):
    """What is said of an image."""

    image: str = Field(description='Name of the file; "image" where it came without one.')
    likely: str = Field(alias="class", description="The predicted class: the most likely one, or by the threshold.")
    probabilities: dict[str, Probability] = Field(
        description="The calibrated probability of each class, the predicted one first."
    )


class PredictResponse(BaseModel):
    """What is said of the images of a request, in their order."""

    model: str = Field(description="Its name in the pipeline.")
    predictions: list[Said]


class Health(BaseModel):
    """Whether images are answered, and by what."""

    ready: bool
    model: str
    classes: list[str]
    image_size: int = Field(description="Height and width that images are made square at.")
    channels: int = Field(description="1 for grey, 3 for RGB.")
    dataset: str = Field(description="What the classifier learnt from.")
    licence: str = Field(description="Of the images that it learnt from.")
    citation: str


class Problem(BaseModel):
    """Why there is no answer."""

    error: str = Field(description="What was expected and what was received.")


MEANINGS = {
    400: "The form cannot be parsed, or has too many files.",
    408: "The request did not come in time.",
    413: "The request is too large.",
    415: "Not a type of image that is read.",
    422: "No image that can be read, or no such class.",
    500: "The server failed.",
    503: "Too much to do, or not ready: ask again later.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe answers that are errors."""
    described: dict[int | str, dict[str, Any]] = {
        status: {"model": Problem, "description": MEANINGS[status]} for status in statuses
    }
    if 503 in described:
        described[503]["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return described


def image_body(many: bool) -> dict[str, Any]:
    """Describe a body that is one image, or a form of one or of several."""
    binary = {"type": "string", "format": "binary"}
    files = {"type": "array", "items": binary, "minItems": 1} | ({} if many else {"maxItems": 1})
    form = {"type": "object", "properties": {FIELD: files}, "required": [FIELD], "additionalProperties": False}
    content = {"multipart/form-data": {"schema": form}} | {kind: {"schema": binary} for kind in TYPES}
    return {"requestBody": {"required": True, "content": content}}
