"""Tests of transfer/serving: what is answered over HTTP is what the classifier says, within its limits."""

import asyncio
import io
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient
from starlette.types import Message, Receive

from tests.documents import fetched, parse
from tests.transfer.conftest import CLASSES, Exported, images_of
from tests.transfer.serving.conftest import LIMITS, Held, encoded, metric, served
from transfer.core.spec import Conversion
from transfer.dataset.decode import decode_pixels
from transfer.serving.app import ROUTES, make_app
from transfer.serving.limits import Limits
from transfer.serving.service import Classifiers

IMAGES = [encoded(pixels) for pixels in images_of(6, 3, (40, 60))]
PNG = {"content-type": "image/png"}


def _form(*images: bytes, kind: str = "image/png") -> list[tuple[str, tuple[str, bytes, str]]]:
    return [("images", (f"{number}.png", image, kind)) for number, image in enumerate(images)]


def _direct(classifiers: Classifiers, image: bytes) -> np.ndarray:
    """What the classifier itself says."""
    (row,) = classifiers.single.probabilities(decode_pixels(image, 32, 3, Conversion())[None])
    return np.asarray(row)


def test_a_form_is_answered_with_what_the_classifier_says(
    client: TestClient, classifiers: Classifiers, exported: Exported
) -> None:
    answer = client.post("/predict", files=_form(*IMAGES))
    assert answer.status_code == 200
    said = answer.json()
    assert said["model"] == "cnn"
    assert [one["image"] for one in said["predictions"]] == [f"{number}.png" for number in range(6)]
    for one, image in zip(said["predictions"], IMAGES, strict=True):
        expected = dict(zip(CLASSES, _direct(classifiers, image).tolist(), strict=True))
        assert one["probabilities"] == pytest.approx(expected, abs=1e-6)
        assert one["class"] == max(expected, key=lambda name: expected[name])
        by_keras = exported.keras(decode_pixels(image, 32, 3, Conversion())[None])[0]
        assert [one["probabilities"][name] for name in CLASSES] == pytest.approx(by_keras.tolist(), abs=1e-5)
    assert len({one["class"] for one in said["predictions"]}) > 1


def test_a_threshold_decides_the_class(client: TestClient) -> None:
    for name in CLASSES:
        answer = client.post("/predict", params={"threshold": f"{name}=0"}, content=IMAGES[0], headers=PNG)
        assert answer.json()["predictions"][0]["class"] == name
    answer = client.post("/predict", params={"threshold": "nobody=0.5"}, content=IMAGES[0], headers=PNG)
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("threshold: expected CLASS=PROBABILITY")


def test_a_body_that_is_an_image_is_answered_to_the_last_bit(client: TestClient, classifiers: Classifiers) -> None:
    for image in IMAGES:
        (said,) = client.post("/predict", content=image, headers=PNG).json()["predictions"]
        assert said["image"] == "image"
        values = [np.float32(said["probabilities"][name]) for name in CLASSES]
        assert values == _direct(classifiers, image).tolist()
        ranked = list(said["probabilities"].values())
        assert ranked == sorted(ranked, reverse=True)


@pytest.mark.parametrize("kind", ["BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP"])
def test_every_format_is_read(kind: str, client: TestClient) -> None:
    image = encoded(images_of(1, 3)[0], kind)
    assert client.post("/predict", content=image, headers={"content-type": f"image/{kind.lower()}"}).status_code == 200
    assert client.post("/predict", files=_form(image, kind="application/octet-stream")).status_code == 200


def _too_wide() -> bytes:
    return encoded(np.zeros((101, 100, 3), np.uint8))


def _bomb() -> bytes:
    """A PNG that says it has 10^10 pixels."""
    data = bytearray(IMAGES[0])
    data[16:24] = (100_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (b"hello", "expected one of BMP, GIF, JPEG, PNG, TIFF, WEBP, received something else"),
        (encoded(images_of(1, 3)[0], "PPM"), "expected one of BMP, GIF, JPEG, PNG, TIFF, WEBP, received something"),
        (IMAGES[0][: len(IMAGES[0]) // 2], "OSError: "),
        (_too_wide(), "expected at most 10,000 pixels, received 100 x 101"),
        (_bomb(), "10000000000 pixels"),
        (b"", "received an empty body"),
    ],
)
def test_a_bad_image_is_refused_with_the_reason(image: bytes, reason: str, client: TestClient) -> None:
    for route in ("/predict", "/explain"):
        answer = client.post(route, content=image, headers=PNG)
        assert answer.status_code == 422
        assert reason in answer.json()["error"]
        assert "Traceback" not in answer.text


def test_every_bad_image_of_a_form_is_named(client: TestClient) -> None:
    answer = client.post("/predict", files=_form(IMAGES[0], b"no", IMAGES[1], _too_wide()))
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert error.startswith("1.png: expected one of")
    assert "; 3.png: expected at most 10,000 pixels" in error


@pytest.mark.parametrize(
    ("request_", "status", "reason"),
    [
        ({"content": IMAGES[0]}, 415, "received none"),
        ({"content": IMAGES[0], "headers": {"content-type": "text/plain"}}, 415, "received text/plain"),
        ({"content": IMAGES[0], "headers": {"content-type": "image/svg+xml"}}, 415, "received image/svg+xml"),
        ({"files": _form(IMAGES[0], kind="text/html")}, 415, "0.png: expected one of image/bmp"),
        ({"files": [("other", ("x.png", IMAGES[0], "image/png"))]}, 422, "received a part named 'other'"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, "boundary"),
        ({"files": _form(*[IMAGES[0]] * 17)}, 400, "Too many files"),
    ],
)
def test_what_is_no_request_for_images_is_refused(
    request_: dict[str, Any], status: int, reason: str, client: TestClient
) -> None:
    answer = client.post("/predict", **request_)
    assert answer.status_code == status
    assert reason in answer.json()["error"]


def test_too_many_bytes_are_refused_whether_they_are_announced_or_not(client: TestClient) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(11):
            yield b"x" * 10_000

    announced = client.post("/predict", content=b"x" * 100_001, headers=PNG)
    assert (announced.status_code, announced.json()["error"]) == (
        413,
        "expected at most 100,000 bytes, received 100,001",
    )
    streamed = client.post("/predict", content=chunks(), headers=PNG)
    assert (streamed.status_code, streamed.json()["error"]) == (413, "expected at most 100,000 bytes, received more")
    form = client.post("/predict", files=_form(b"x" * 100_000))
    assert form.status_code == 413
    assert client.post("/predict", content=b"x" * 100_000, headers=PNG).status_code == 422  # just not too many


def test_an_explanation_is_a_picture_of_the_class_that_is_asked_for(client: TestClient) -> None:
    answers = [
        client.post("/explain", params={"class": name}, content=IMAGES[0], headers=PNG) for name in ("red", "grün")
    ]
    for answer in answers:
        assert answer.headers["content-type"] == "image/png"
        with Image.open(io.BytesIO(answer.content)) as picture:
            assert picture.size[0] > 600
    assert answers[0].content != answers[1].content
    (said,) = client.post("/predict", content=IMAGES[0], headers=PNG).json()["predictions"]
    likely = client.post("/explain", params={"class": said["class"]}, content=IMAGES[0], headers=PNG)
    assert client.post("/explain", files=_form(IMAGES[0])).content == likely.content


def test_an_explanation_of_no_class_or_of_two_images_is_refused(client: TestClient) -> None:
    answer = client.post("/explain?class=cat", content=IMAGES[0], headers=PNG)
    assert (answer.status_code, answer.json()["error"]) == (
        422, "class: expected one of blue, light, red, grün, received 'cat'",
    )  # fmt: skip
    assert client.post("/explain", files=_form(*IMAGES[:2])).status_code == 400


def test_health_says_what_answers(classifiers: Classifiers) -> None:
    with served(classifiers) as client:
        said = client.get("/health").json()
        assert (said["ready"], said["model"], said["classes"]) == (True, "cnn", list(CLASSES))
        assert (said["image_size"], said["channels"], said["licence"]) == (32, 3, "CC0-1.0")
    idle = TestClient(make_app(classifiers, LIMITS))  # not started: nothing computes
    answer = idle.get("/health")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"


def test_metrics_count_answers_by_route_and_status(client: TestClient) -> None:
    client.post("/predict", files=_form(*IMAGES[:3]))
    client.post("/predict", content=b"no", headers=PNG)
    for number in range(3):
        client.get(f"/made-up-{number}")
    assert metric(client, 'transfer_requests_total{route="/predict",status="200"}') == 1
    assert metric(client, 'transfer_requests_total{route="/predict",status="422"}') == 1
    assert metric(client, 'transfer_requests_total{route="other",status="404"}') == 3
    assert metric(client, 'transfer_request_seconds_count{route="/predict"}') == 2
    assert 0 < metric(client, 'transfer_request_seconds_sum{route="/predict"}') < 5
    assert metric(client, "transfer_batch_images_sum") == 3
    assert metric(client, "transfer_images_waiting") == 0
    assert "made-up" not in client.get("/metrics").text


def _ask_all(client: TestClient, images: list[bytes]) -> list[httpx2.Response]:
    with ThreadPoolExecutor(len(images)) as threads:
        return list(threads.map(lambda image: client.post("/predict", content=image, headers=PNG), images))


def test_requests_that_come_while_one_is_computed_are_computed_together(held: Held, classifiers: Classifiers) -> None:
    with served(Classifiers(held, held)) as client, ThreadPoolExecutor(7) as threads:
        first = threads.submit(client.post, "/predict", content=IMAGES[0], headers=PNG)
        assert held.entered.wait(10)
        others = [threads.submit(client.post, "/predict", content=image, headers=PNG) for image in IMAGES]
        while metric(client, "transfer_images_waiting") < 7:
            time.sleep(0.01)
        time.sleep(0.2)  # until they are decoded
        held.go.set()
        answers = [one.result() for one in (first, *others)]
        assert held.sizes == [1, 6]
        assert metric(client, "transfer_batch_images_count") == 2
        assert metric(client, "transfer_batch_images_sum") == 7
        for answer, image in zip(answers[1:], IMAGES, strict=True):
            (said,) = answer.json()["predictions"]
            values = [said["probabilities"][name] for name in CLASSES]
            assert values == pytest.approx(_direct(classifiers, image).tolist(), abs=1e-6)


def test_a_batch_has_no_more_images_than_it_may(held: Held) -> None:
    held.go.set()
    with served(Classifiers(held, held), replace(LIMITS, batch=4)) as client:
        assert client.post("/predict", files=_form(*[IMAGES[0]] * 11)).status_code == 200
    assert sum(held.sizes) == 11
    assert max(held.sizes) == 4


def test_who_comes_when_all_places_are_taken_is_told_to_come_back(held: Held) -> None:
    limits = replace(LIMITS, waiting=4)
    with served(Classifiers(held, held), limits) as client, ThreadPoolExecutor(1) as threads:
        first = threads.submit(client.post, "/predict", files=_form(*IMAGES[:3]))
        assert held.entered.wait(10)
        refused = client.post("/predict", files=_form(*IMAGES[:2]))
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert "ask again later" in refused.json()["error"]
        assert client.get("/health").status_code == 200  # the server itself is not blocked
        held.go.set()
        assert first.result().status_code == 200
        assert client.post("/predict", files=_form(*IMAGES[:4])).status_code == 200


def test_explanations_have_few_places(held: Held) -> None:
    limits = replace(LIMITS, explanations=1)
    with served(Classifiers(held, held), limits) as client, ThreadPoolExecutor(1) as threads:
        first = threads.submit(client.post, "/explain", content=IMAGES[0], headers=PNG)
        assert held.entered.wait(10)
        assert client.post("/explain", content=IMAGES[0], headers=PNG).status_code == 503
        held.go.set()
        assert first.result().status_code == 200


def test_what_takes_too_long_is_given_up_and_what_comes_after_answered(held: Held) -> None:
    with served(Classifiers(held, held), replace(LIMITS, seconds=0.3)) as client:
        answer = client.post("/predict", content=IMAGES[0], headers=PNG)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert metric(client, "transfer_images_waiting") == 0
        held.go.set()
        assert client.post("/predict", content=IMAGES[0], headers=PNG).status_code == 200


def test_an_error_of_the_runtime_is_no_secret_told_and_no_end(held: Held, caplog: pytest.LogCaptureFixture) -> None:
    held.error = RuntimeError("secret of the machine")
    held.go.set()
    with served(Classifiers(held, held)) as client:
        answer = client.post("/predict", content=IMAGES[0], headers=PNG)
        assert (answer.status_code, answer.json()) == (500, {"error": "the server failed; its log says why"})
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "secret of the machine" in caplog.text
        assert metric(client, 'transfer_requests_total{route="/predict",status="500"}') == 1
        held.error = None
        assert client.post("/predict", content=IMAGES[0], headers=PNG).status_code == 200


def test_fifty_clients_get_their_own_answers(classifiers: Classifiers) -> None:
    images = [encoded(pixels) for pixels in images_of(50, 3)]
    with served(classifiers, Limits()) as client:
        start = time.perf_counter()
        answers = _ask_all(client, images)
        assert time.perf_counter() - start < 20
        assert metric(client, "transfer_batch_images_sum") == 50
        assert metric(client, "transfer_batch_images_count") < 50
    for answer, image in zip(answers, images, strict=True):
        (said,) = answer.json()["predictions"]
        values = [said["probabilities"][name] for name in CLASSES]
        assert values == pytest.approx(_direct(classifiers, image).tolist(), abs=1e-6)


def test_the_interface_is_described(client: TestClient) -> None:
    said = client.get("/openapi.json").json()
    assert set(said["paths"]) == set(ROUTES) - {"/openapi.json"}
    for route in ("/predict", "/explain"):
        post = said["paths"][route]["post"]
        assert set(post["responses"]) == {"200", "400", "408", "413", "415", "422", "500", "503"}
        assert "multipart/form-data" in post["requestBody"]["content"]
        assert "image/png" in post["requestBody"]["content"]
    assert said["paths"]["/explain"]["post"]["parameters"][0]["schema"]["enum"] == list(CLASSES)
    assert {"Health", "PredictResponse", "Problem", "Said"} <= set(said["components"]["schemas"])
    assert client.get("/docs").status_code == 404


def _status_and_body(classifiers: Classifiers, limits: Limits, receive: Receive) -> tuple[int, bytes]:
    """What is answered to a body that comes as `receive` gives it."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/predict", "raw_path": b"/predict", "query_string": b"",
        "headers": [(b"content-type", b"image/png")], "http_version": "1.1", "scheme": "http", "root_path": "",
        "server": ("testserver", 80), "client": ("testclient", 1),
    }  # fmt: skip
    asyncio.run(asyncio.wait_for(make_app(classifiers, limits)(scope, receive, send), 10))
    return sent[0]["status"], sent[1]["body"]


def test_a_body_that_does_not_come_is_given_up(classifiers: Classifiers) -> None:
    async def receive() -> Message:
        await asyncio.sleep(60)
        return {}

    status, body = _status_and_body(classifiers, replace(LIMITS, seconds=0.2), receive)
    assert status == 408
    assert b"expected the whole request within 0.2 s" in body


def test_a_body_without_end_is_not_read_to_it(classifiers: Classifiers) -> None:
    received = []

    async def receive() -> Message:
        received.append(30_000)
        return {"type": "http.request", "body": b"x" * 30_000, "more_body": True}

    assert _status_and_body(classifiers, LIMITS, receive)[0] == 413
    assert sum(received) == 120_000


def test_the_page_loads_nothing_and_runs_only_its_own_script(client: TestClient) -> None:
    answer = client.get("/")
    document = parse(answer.text.replace("<!doctype html>", ""))
    assert fetched(document) == {"/openapi.json"}
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
