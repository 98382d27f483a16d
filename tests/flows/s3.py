"""``python -m tests.flows.s3 FILE``: an S3 server on loopback, which prints its address.

While ``FILE`` exists it takes one more object, and then fails whatever it is asked.
"""

import sys
from pathlib import Path

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server


class Failing:
    """The server's application, as long as it does not fail."""

    def __init__(self, failing: Path) -> None:
        self.failing = failing
        self.taken = 0
        self.application = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ, start_response):
        if not self.failing.exists():
            self.taken = 0
        elif environ["REQUEST_METHOD"] == "PUT":
            self.taken += 1
        if self.taken > 1:
            start_response("503 Slow Down", [("Content-Length", "0")])
            return []
        return self.application(environ, start_response)


if __name__ == "__main__":
    server = make_server("127.0.0.1", 0, Failing(Path(sys.argv[1])), threaded=True)
    print(f"http://127.0.0.1:{server.port}", flush=True)
    server.serve_forever()
