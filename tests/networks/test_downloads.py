"""A server that does not answer ends a download; one that answers, if only with an error, does not."""

import http.server
import socket
import threading
import time
import urllib.request

import pytest

from kd_sweep.errors import SpecError
from kd_sweep.networks.downloads import while_it_answers
from kd_sweep.networks.network_checks import check_model
from kd_sweep.study.recipe import Learner


def read(url):
    with urllib.request.build_opener().open(url) as answer:
        return answer.read()


def test_a_server_that_accepts_and_never_answers_ends_the_download():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(TimeoutError, match=f"{url} does not answer within 0.2 s"):
            while_it_answers(lambda: read(url), url, grace_s=0.1, answer_s=0.2)
        assert time.monotonic() - started < 30


def test_a_long_download_goes_on_while_its_server_answers():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"  # answers 501 to everything
        goes_on = threading.Event()
        threading.Timer(0.5, goes_on.set).start()
        assert while_it_answers(goes_on.wait, url, grace_s=0.1, answer_s=2.0)
        server.shutdown()


def test_an_error_of_the_download_is_raised():
    with pytest.raises(ZeroDivisionError):
        while_it_answers(lambda: 1 // 0, "http://127.0.0.1")


@pytest.mark.parametrize("name", ["timm:hf-hub:timm/resnet18.a1_in1k", "timm:local-dir:/tmp/x"])
def test_a_location_is_no_name_of_a_model_and_no_server_is_asked(name):
    with pytest.raises(SpecError, match=f"^teacher.model: '{name}' names a location and not a model"):
        check_model(Learner(model=name), "teacher.model", 64, 3)
