"""``GET /metrics``."""

from flask import Blueprint, Response, request
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, Unauthorized

from modelcache.access.gate import READ
from modelcache.access.keys import ANY_MODEL
from modelcache.admin.metrics import Metrics
from modelcache.core import Service
from modelcache.errors import ForbiddenError, UnauthorizedError

PATH = "/metrics"


class MetricsRoutes(Blueprint):
    """The route of a service; with keys it wants one that may read every model."""

    def __init__(self, service: Service) -> None:
        super().__init__("metrics", __name__)
        self._service = service
        self._metrics = Metrics(service)
        service.accompanied_by(self._metrics.open, self._metrics.close)
        self.get(PATH)(self.metrics)

    def metrics(self) -> Response:
        """Return all metrics, also while the service is starting."""
        try:
            caller = self._service.gate.admit(request.headers.get("Authorization", ""))
            # They name every model.
            caller.allow(READ, ANY_MODEL)
        except UnauthorizedError as exc:
            raise Unauthorized(exc.public, www_authenticate=WWWAuthenticate("bearer")) from exc
        except ForbiddenError as exc:
            raise Forbidden(exc.public) from exc
        return Response(self._metrics.exposition(), content_type=CONTENT_TYPE_LATEST)
