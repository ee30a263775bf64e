"""The routes of a server, and what is answered to what cannot be done."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from transfer.core.arrays import Pixels
from transfer.core.errors import UserError
from transfer.dataset.decode import BadImageError
from transfer.export.contract import Contract
from transfer.serving.batcher import BusyError
from transfer.serving.guard import Guard
from transfer.serving.limits import Limits
from transfer.serving.measures import Measures
from transfer.serving.page import render
from transfer.serving.predict import Ranking
from transfer.serving.schema import Health, PredictResponse, Said, image_body, problems
from transfer.serving.service import Classifiers, Service
from transfer.serving.uploads import Upload, read_uploads

RETRY_SECONDS = 1
ROUTES = ("/", "/predict", "/explain", "/health", "/metrics", "/openapi.json")


@dataclass(frozen=True)
class _Routes:
    """What routes do. A method for each that computes."""

    service: Service
    limits: Limits

    async def predict(
        self,
        request: Request,
        threshold: Annotated[str | None, Query(description="CLASS=PROBABILITY, or auto.")] = None,
    ) -> PredictResponse:
        """Say what images show: the calibrated probability of each class. All of them, or an error that names those
        that cannot be read. With a threshold, its class is predicted where its probability is above it.
        """
        service = self.service
        with service.places.take(1):
            uploads = await read_uploads(request, self.limits.waiting)
            ranking = _ranking(service.contract, threshold)
            with service.places.take(len(uploads) - 1):
                pixels = await self._pixels(uploads)
                async with _in_time(self.limits.seconds):
                    rows = await asyncio.gather(*(service.probabilities(image) for image in pixels))
        said = []
        for upload, row in zip(uploads, rows, strict=True):
            likely = ranking.of_image(row)
            said.append(
                Said.model_validate({"image": upload.name, "class": likely[0][0], "probabilities": dict(likely)})
            )
        return PredictResponse(model=service.contract.model, predictions=said)

    async def explain(self, request: Request, wanted: str | None) -> Response:
        """Draw what in an image speaks for a class."""
        service, classes = self.service, self.service.contract.classes
        if wanted is not None and wanted not in classes:
            raise HTTPException(422, f"class: expected one of {', '.join(classes)}, received {wanted!r}")
        with service.explanations.take(1):
            (pixels,) = await self._pixels(await read_uploads(request, 1))
            async with _in_time(self.limits.seconds):
                row = await service.probabilities(pixels)
                target = int(row.argmax()) if wanted is None else classes.index(wanted)
                return Response(await service.explanation(pixels, target, float(row[target])), media_type="image/png")

    async def _pixels(self, uploads: list[Upload]) -> list[Pixels]:
        """Decode images; an HTTPException names all that cannot be."""
        found = await asyncio.gather(*(self.service.pixels(upload) for upload in uploads))
        named = zip(uploads, found, strict=True)
        if bad := [f"{upload.name}: {error}" for upload, error in named if isinstance(error, BadImageError)]:
            raise HTTPException(422, "; ".join(bad))
        return [image for image in found if not isinstance(image, BadImageError)]


def _ranking(contract: Contract, threshold: str | None) -> Ranking:
    try:
        return Ranking.of(contract, None, threshold)
    except UserError as error:
        raise HTTPException(422, str(error)) from None


@asynccontextmanager
async def _in_time(seconds: float) -> AsyncIterator[None]:
    """Give up after a time, as whoever asked will have, by a BusyError. Any other TimeoutError is a fault of ours."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise BusyError from None


def _add_errors(app: FastAPI) -> None:
    """Answer every error with a JSON object that has its reason."""

    @app.exception_handler(HTTPException)
    async def refuse(_request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def reject(_request: Request, error: RequestValidationError) -> JSONResponse:
        said = "; ".join(f"{fault['loc'][-1]}: {fault['msg']}" for fault in error.errors())
        return JSONResponse({"error": said}, 422)

    @app.exception_handler(BusyError)
    async def put_off(_request: Request, _error: BusyError) -> JSONResponse:
        return JSONResponse(
            {"error": "too many images at a time; ask again later"}, 503, {"Retry-After": str(RETRY_SECONDS)}
        )

    @app.exception_handler(Exception)
    async def fail(_request: Request, _error: Exception) -> JSONResponse:
        return JSONResponse({"error": "the server failed; its log says why"}, 500)


def _add_images(app: FastAPI, routes: _Routes) -> None:
    """Add the routes that take images."""
    statuses = (400, 408, 413, 415, 422, 500, 503)

    app.post("/predict", responses=problems(*statuses), openapi_extra=image_body(many=True))(routes.predict)
    png = {"image/png": {"schema": {"type": "string", "format": "binary"}}}
    drawn: dict[int | str, dict[str, Any]] = {200: {"description": "The image, and the map.", "content": png}}
    names = list(routes.service.contract.classes)

    @app.post(
        "/explain",
        response_class=Response,
        responses=drawn | problems(*statuses),
        openapi_extra=image_body(many=False),
    )
    async def explain(
        request: Request, wanted: Annotated[str | None, Query(alias="class", json_schema_extra={"enum": names})] = None
    ) -> Response:
        """Draw by how much the log-odds of a class, the most likely one if none is named, fall where a part of an
        image is blurred away.
        """
        return await routes.explain(request, wanted)


def _add_state(app: FastAPI, service: Service, measures: Measures) -> None:
    """Add the routes that say how the server is."""

    @app.get("/health", responses=problems(503))
    async def health() -> Health:
        """Tell whether images are answered, and by what."""
        if not service.ready:
            raise HTTPException(503, "not ready", {"Retry-After": str(RETRY_SECONDS)})
        return Health.model_validate({"ready": True, **asdict(service.contract)})  # which takes what it has fields for

    plain = {"text/plain": {"schema": {"type": "string"}}}
    text: dict[int | str, dict[str, Any]] = {200: {"description": "Prometheus' text format.", "content": plain}}

    @app.get("/metrics", response_class=Response, responses=text)
    async def metrics() -> Response:
        """Count requests by route and status, their seconds, and the images computed at a time."""
        return Response(measures.text(), media_type=CONTENT_TYPE_LATEST)


def _add_page(app: FastAPI, service: Service, limits: Limits) -> None:
    """Add the page that a classifier can be tried on."""
    page, policy = render(service.contract, limits)

    @app.get("/", response_class=HTMLResponse)
    async def index() -> HTMLResponse:
        """Show a page that images can be dropped on."""
        return HTMLResponse(page, headers={"Content-Security-Policy": policy})


def make_app(classifiers: Classifiers, limits: Limits) -> ASGIApp:
    """Make the application of a classifier, as ASGI servers run it."""
    measures = Measures()
    service = Service(classifiers, limits, measures)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with service.started():
            yield

    contract = service.contract
    app = FastAPI(  # its own pages of documentation would load scripts from elsewhere
        title=f"{contract.dataset}: {contract.model}", version="1", docs_url=None, redoc_url=None, lifespan=lifespan
    )
    _add_errors(app)
    _add_page(app, service, limits)
    _add_images(app, _Routes(service, limits))
    _add_state(app, service, measures)
    return Guard(app, limits, measures, ROUTES)
