from functions.endpoint import DATA_ACTIONS
from shared.access import DataAction
from tests.archive import HOST, Client, code_of
from tests.builders import dataset, part10

JSON = {"Accept": "application/dicom+json"}


async def test_a_deleted_study_is_restored_and_told_as_store_tells_it(client: Client) -> None:
    source = dataset()
    study = f"/v2/studies/{source.StudyInstanceUID}"
    instance = f"{study}/series/{source.SeriesInstanceUID}/instances/{source.SOPInstanceUID}"
    await client.store("/v2", [part10(source)])
    await client.send("DELETE", study)

    restored = await client.send("POST", f"{study}/$restore", headers=JSON)

    assert restored.status_code == 200
    assert restored.headers["content-type"] == "application/dicom+json"
    document = restored.json()
    assert document["00081190"]["Value"] == [HOST + study]
    [item] = document["00081199"]["Value"]
    assert item["00081190"]["Value"] == [HOST + instance]
    assert item["00081150"]["Value"] == [source.SOPClassUID]
    assert (await client.get(f"{study}/metadata", JSON["Accept"])).status_code == 200


async def test_of_a_study_that_is_there_it_is_not_said_that_it_has_been_deleted(
    client: Client,
) -> None:
    source = dataset()
    study = f"/v2/studies/{source.StudyInstanceUID}"
    await client.store("/v2", [part10(source)])
    never_deleted = await client.send("POST", f"{study}/$restore")
    await client.send("DELETE", study)
    await client.send("POST", f"{study}/$restore")
    restored_before = await client.send("POST", f"{study}/$restore")
    for refused in (never_deleted, restored_before):
        assert refused.status_code == 409
        assert code_of(refused.content) == "Conflict"
        assert refused.json()["error"]["message"].startswith("Instances of the study are stored")


async def test_what_is_stored_again_is_told_as_failed(client: Client) -> None:
    source = dataset()
    other = dataset(StudyInstanceUID=source.StudyInstanceUID)
    study = f"/v2/studies/{source.StudyInstanceUID}"
    await client.store("/v2", [part10(source), part10(other)])
    await client.send("DELETE", study)
    await client.store("/v2", [part10(source)])

    in_part = await client.send("POST", f"{study}/$restore")

    assert in_part.status_code == 202
    [failed] = in_part.json()["00081198"]["Value"]
    assert failed["00081155"]["Value"] == [source.SOPInstanceUID]
    assert failed["00081197"]["Value"] == [45070]
    nothing = await client.send("POST", f"{study}/$restore")
    assert nothing.status_code == 409
    assert "00081199" not in nothing.json()


async def test_a_study_that_never_was_cannot_be_restored(client: Client) -> None:
    unknown = await client.send("POST", "/v2/studies/1.2.3/$restore")
    assert unknown.status_code == 404
    assert code_of(unknown.content) == "NotFound"
    malformed = await client.send("POST", "/v2/studies/1.2.x/$restore")
    assert malformed.status_code == 400
    unacceptable = await client.send(
        "POST", "/v2/studies/1.2.3/$restore", headers={"Accept": "image/png"}
    )
    assert unacceptable.status_code == 406


async def test_v1_does_not_restore(client: Client) -> None:
    source = dataset()
    await client.store("/v2", [part10(source)])
    await client.send("DELETE", f"/v2/studies/{source.StudyInstanceUID}")
    for version in ("v1", "v1.0-prerelease"):
        path = f"/{version}/studies/{source.StudyInstanceUID}/$restore"
        assert (await client.send("POST", path)).status_code == 404


def test_whoever_may_delete_may_undo_it() -> None:
    for name in ("restore_study", "restore_study_in_partition"):
        assert DATA_ACTIONS[name] is DataAction.DELETE
