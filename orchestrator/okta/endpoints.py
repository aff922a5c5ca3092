"""Where Okta keeps the keys of apps and of identity providers. Ids are quoted into paths here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from orchestrator.errors import Refused
from orchestrator.model import AppId, KeyRef, Kid, Resource
from orchestrator.okta.pacer import Bucket
from orchestrator.okta.wire import is_identity

LOGS = "/api/v1/logs"
ORGANIZATION = "/.well-known/okta-organization"
PRINCIPALS = "/api/v1/principal-rate-limits"
SHOWN = 50  # characters of an odd id


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """The paths and rate-limit buckets of one kind of resource."""

    root: str
    id_name: str  # the placeholder of Okta's reference
    target_name: str  # the query parameter for the target of a clone
    bucket: Bucket  # of lists, and of everything below one resource
    read_bucket: Bucket
    write_bucket: Bucket

    @property
    def template(self) -> str:
        return f"{self.root}/{{{self.id_name}}}"

    @property
    def keys_template(self) -> str:
        return f"{self.template}/credentials/keys"

    @property
    def csrs_template(self) -> str:
        return f"{self.template}/credentials/csrs"


ENDPOINTS: Mapping[Resource, Endpoints] = {
    Resource.APP: Endpoints(
        root="/api/v1/apps",
        id_name="appId",
        target_name="targetAid",
        bucket=Bucket.APPS,
        read_bucket=Bucket.APP_READ,
        write_bucket=Bucket.APP_WRITE,
    ),
    Resource.IDP: Endpoints(
        root="/api/v1/idps",
        id_name="idpId",
        target_name="targetIdpId",
        bucket=Bucket.IDPS,
        read_bucket=Bucket.IDPS,
        write_bucket=Bucket.IDPS,
    ),
}


def segment(identity: str) -> str:
    """Return an id, or a kid, as a part of a path: only what can be nothing else in it.

    Raises:
        Refused: it has other characters than ids of Okta's. Quoting would not do: `..` has none.
    """
    if not is_identity(identity):
        raise Refused(f"{identity[:SHOWN]!a} is no id of Okta's, so nothing is asked about it")
    return identity


def path_of(app: AppId, resource: Resource) -> str:
    """Return the path of an app, or of an identity provider."""
    return f"{ENDPOINTS[resource].root}/{segment(app)}"


@lru_cache(maxsize=64)  # a run clones few keys into many targets
def key_path(key: KeyRef) -> str:
    """Return the path of a key where it is held."""
    return f"{path_of(key.app, key.resource)}/credentials/keys/{segment(key.kid)}"


def clone_path(source: KeyRef, target: AppId) -> str:
    """Return path and query of a clone."""
    name = ENDPOINTS[source.resource].target_name
    return f"{key_path(source)}/clone?{name}={segment(target)}"


def metadata_path(app: AppId, kid: Kid) -> str:
    """Return path and query of an app's SAML metadata for one key."""
    return f"{path_of(app, Resource.APP)}/sso/saml/metadata?kid={segment(kid)}"
