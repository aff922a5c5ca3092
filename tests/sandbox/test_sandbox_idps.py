"""Identity providers over real sockets: list, read, replace, and their keys."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from orchestrator.errors import UsageError
from orchestrator.sandbox.idps import SandboxIdp
from orchestrator.sandbox.org import SandboxOrg
from tests.sandbox.peer import Peer, active_kid, app_path, idp_path, opened
from tests.sandbox.test_sandbox_apps import next_link, pages

IDPS = "/api/v1/idps"


def keys_of(idp: SandboxIdp) -> str:
    return f"{idp_path(idp.id)}/credentials/keys"


def signing_with(document: Any, kid: str) -> Any:
    changed = copy.deepcopy(document)
    changed["protocol"]["credentials"]["signing"] = {"kid": kid}
    return changed


async def put_kid(peer: Peer, idp: SandboxIdp, kid: str) -> Any:
    document = (await peer.get(idp_path(idp.id))).json()
    return await peer.put(idp_path(idp.id), signing_with(document, kid))


async def test_pages_of_idps() -> None:
    org = SandboxOrg()
    org.add_app()
    ids = [org.add_idp().id for _ in range(25)]
    async with opened(org) as peer:
        small = await pages(peer, IDPS)
        large = await pages(peer, f"{IDPS}?limit=200")
        too_large = await peer.get(f"{IDPS}?limit=201")
        single = await peer.get(idp_path(ids[0]))
    assert [len(page) for page in small] == [20, 5]
    assert [idp["id"] for page in small for idp in page] == ids
    assert [[idp["id"] for idp in page] for page in large] == [ids]
    assert too_large.json()["errorCode"] == "E0000001"
    assert large[0][0] == single.json()


async def test_idps_are_found_by_name_and_type() -> None:
    org = SandboxOrg()
    first = org.add_idp(name="Partner A")
    second = org.add_idp(name="Partner B", kind="OIDC")
    org.add_idp(name="Other")
    async with opened(org) as peer:
        named = await peer.get(IDPS, query={"q": "partner", "limit": "1"})
        following = next_link(named)
        assert following is not None
        rest = await peer.get(following)
        typed = await peer.get(IDPS, query={"type": "OIDC"})
    assert [idp["id"] for idp in named.json() + rest.json()] == [first.id, second.id]
    assert [idp["id"] for idp in typed.json()] == [second.id]


async def test_only_a_saml_idp_signs() -> None:
    org = SandboxOrg()
    saml, oidc, social = org.add_idp(), org.add_idp(kind="OIDC"), org.add_idp(kind="FACEBOOK")
    async with opened(org) as peer:
        documents = [(await peer.get(idp_path(each.id))).json() for each in (saml, oidc, social)]
        active = [await peer.get(f"{keys_of(each)}/active") for each in (saml, oidc, social)]
    assert documents[0]["protocol"]["credentials"]["signing"] == {"kid": saml.active_kid}
    assert [d["protocol"]["type"] for d in documents] == ["SAML2", "OIDC", "OAUTH2"]
    assert not any("signing" in d["protocol"]["credentials"] for d in documents[1:])
    assert [reply.status for reply in active] == [200, 204, 204]
    assert [key["kid"] for key in active[0].json()] == [saml.active_kid]
    assert active[1].body == b""
    keys = [org.list_keys(each.id) for each in (oidc, social)]
    assert keys[0] != []
    assert [key["kid"] for key in keys[0]] == [key["kid"] for key in keys[1]]


async def test_a_key_is_generated_listed_cloned_and_activated() -> None:
    org = SandboxOrg()
    source, target = org.add_idp(), org.add_idp()
    async with opened(org) as peer:
        made = await peer.post(f"{keys_of(source)}/generate?validityYears=2")
        kid = made.json()["kid"]
        path = f"{keys_of(source)}/{kid}/clone?targetIdpId={target.id}"
        cloned = await peer.post(path)
        again = await peer.post(path)
        listed = await peer.get(keys_of(target))
        read = await peer.get(f"{keys_of(target)}/{kid}")
        before = target.active_kid
        replaced = await put_kid(peer, target, kid)
        active = await peer.get(f"{keys_of(target)}/active")
        url = peer.url
    assert (made.status, cloned.status) == (201, 201)
    assert made.headers["Location"] == f"{url}{keys_of(source)}/{kid}"
    assert cloned.headers["Location"] == f"{url}{keys_of(target)}/{kid}"
    assert cloned.json()["x5t#S256"] == made.json()["x5t#S256"]
    assert (again.status, again.json()["errorCode"]) == (400, "E0000001")
    assert again.json()["errorSummary"] == "Api validation failed: cloneKey"
    assert "for the target app" in again.json()["errorCauses"][0]["errorSummary"]
    assert [key["kid"] for key in listed.json()] == [kid, before], "recorded: its own comes last"
    assert read.json() == cloned.json()
    assert replaced.json()["protocol"]["credentials"]["signing"] == {"kid": kid}
    assert [key["kid"] for key in active.json()] == [kid]
    assert (target.active_kid, target.previous_kid) == (kid, before)
    assert org.log[1].target == target.id
    assert org.log[1].template == "/api/v1/idps/{idpId}/credentials/keys/{kid}/clone"


async def test_a_whole_put_changes_the_key_and_nothing_else() -> None:
    org = SandboxOrg()
    idp = org.add_idp()
    kid = org.add_key(idp.id)
    async with opened(org) as peer:
        before = (await peer.get(idp_path(idp.id))).json()
        reply = await put_kid(peer, idp, kid)
        after = (await peer.get(idp_path(idp.id))).json()
    assert reply.json() == after
    assert list(after) == list(before)
    assert after == signing_with(before, kid) | {"lastUpdated": after["lastUpdated"]}
    assert after["lastUpdated"] > before["lastUpdated"]
    put = org.log[2]
    assert (put.method, put.collateral) == ("PUT", ())
    assert (put.kid_before, put.kid_after) == (idp.own_kid, kid)


async def test_what_a_put_leaves_out_is_lost() -> None:
    org = SandboxOrg()
    idp = org.add_idp()
    async with opened(org) as peer:
        part = (await peer.get(idp_path(idp.id))).json()
        del part["protocol"]["settings"]
        del part["protocol"]["credentials"]["signing"]
        del part["policy"]["accountLink"]
        del part["_links"]
        after = (await peer.put(idp_path(idp.id), part)).json()
        active = await peer.get(f"{keys_of(idp)}/active")
    assert "settings" not in after["protocol"]
    assert "signing" not in after["protocol"]["credentials"]
    assert "accountLink" not in after["policy"]
    assert "_links" in after
    assert active.status == 204
    assert idp.active_kid is None
    assert org.log[1].collateral == ("protocol.settings", "policy.accountLink")
    assert org.collateral_changes() == 1


async def test_a_put_is_refused_for_what_it_lacks_or_must_not_say() -> None:
    org = SandboxOrg()
    idp, other, social = org.add_idp(), org.add_idp(), org.add_idp(kind="GOOGLE")
    org.add_key(social.id, active_kid(idp))
    whole, of_social = idp.document(), social.document()
    parts = [
        {"protocol": {"credentials": {"signing": {"kid": idp.active_kid}}}},
        {n: v for n, v in whole.items() if n != "name"},
        {n: v for n, v in whole.items() if n != "policy"},
        {n: v for n, v in whole.items() if n != "protocol"},
        whole | {"type": "OIDC"},
        signing_with(whole, active_kid(other)),
        signing_with(whole, 7),  # type: ignore[arg-type]  # that is the point
    ]
    async with opened(org) as peer:
        before = (await peer.get(idp_path(idp.id))).json()
        replies = [await peer.put(idp_path(idp.id), part) for part in parts]
        replies.append(
            await peer.put(idp_path(social.id), signing_with(of_social, active_kid(idp)))
        )
        missing = await peer.put(idp_path("0oaunknown"), whole)
        not_json = await peer.put(idp_path(idp.id), ["x"])
        after = (await peer.get(idp_path(idp.id))).json()
    assert {(r.status, r.json()["errorCode"]) for r in replies} == {(400, "E0000001")}
    assert (missing.status, missing.json()["errorCode"]) == (404, "E0000007")
    assert missing.json()["errorSummary"].endswith("0oaunknown (IdpTrust)")
    assert not_json.json()["errorCode"] == "E0000003"
    assert after == before
    assert not any(call.effect for call in org.log)


async def test_apps_and_idps_do_not_mix() -> None:
    org = SandboxOrg()
    app, idp = org.add_app(), org.add_idp()
    kid = active_kid(app)
    async with opened(org) as peer:
        replies = [
            await peer.get(idp_path(app.id)),
            await peer.get(app_path(idp.id)),
            await peer.get(f"{app_path(idp.id)}/credentials/keys"),
            await peer.clone(app, kid, idp.id),
            await peer.post(f"{keys_of(idp)}/{idp.active_kid}/clone?targetIdpId={app.id}"),
        ]
        wrong_name = await peer.post(f"{keys_of(idp)}/{idp.active_kid}/clone?targetAid={idp.id}")
    assert [reply.status for reply in replies] == [404] * 5
    assert (wrong_name.status, wrong_name.json()["errorCode"]) == (400, "E0000001")
    assert "targetIdpId" in wrong_name.json()["errorSummary"]


async def test_all_of_it_is_in_one_bucket() -> None:
    org = SandboxOrg()
    idp = org.add_idp()
    async with opened(org) as peer:
        await peer.get(IDPS)
        await put_kid(peer, idp, active_kid(idp))
        await peer.get(f"{keys_of(idp)}/active")
    assert {call.bucket for call in org.log} == {"v1"}
    assert [call.resource for call in org.log] == [None, "idp", "idp", "idp"]


def test_an_idp_is_seeded_and_removed_like_an_app() -> None:
    org = SandboxOrg()
    kid = "s" * 43
    idp = org.add_idp("0oaIdp", name="Partner", status="INACTIVE", kids=[kid])
    assert (idp.name, idp.status) == ("Partner", "INACTIVE")
    assert "activate" in dict(idp.document())["_links"]  # type: ignore[operator]  # an object
    assert org.holders(kid) == {"0oaIdp"}
    for again in (org.add_app, org.add_idp):
        with pytest.raises(UsageError, match="0oaIdp"):
            again("0oaIdp")
    org.remove_idp("0oaIdp")
    assert org.holders(kid) == set()
    assert not org.holds("0oaIdp", kid)


def test_an_idp_can_come_from_a_document() -> None:
    document = SandboxOrg(seed=5).add_idp(name="Partner").document()
    document |= {"properties": {"new": [None, {}]}, "issuerMode": "ORG_URL"}
    org = SandboxOrg()
    idp = org.add_idp(document=document)
    moved = org.add_idp("0oaAnother", document=document)
    assert idp.document() == document
    assert list(idp.document()) == list(document)
    assert idp.active_kid == idp.own_kid
    assert org.holders(active_kid(idp)) == {idp.id, "0oaAnother"}
    assert str(moved.document()).count("0oaAnother") == str(document).count(idp.id)
    kid = org.add_key(idp.id)
    org.update(idp, signing_with(document, kid))
    assert idp.active_kid == kid
    assert org.holds(idp.id, str(idp.own_kid)), "the key it had is still in its store"
    unchanged = idp.document() | {"lastUpdated": document["lastUpdated"]}
    assert unchanged == signing_with(document, kid)
