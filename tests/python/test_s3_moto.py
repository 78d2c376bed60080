"""What SeaweedFS does not have, on moto's server: the contract of stores once more, keys with empty parts, archives, roles."""

import json
import subprocess

import moto_server
import pytest
from moto_server import BUCKET, KEYS


@pytest.fixture(scope="module")
def moto(tmp_path_factory):
    server = moto_server.start(tmp_path_factory.mktemp("moto"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def there(vacuole, moto):
    return vacuole.within(moto.environment(**KEYS))


@pytest.fixture(scope="module")
def client(moto):
    return moto.client()


def uri(key):
    return f"s3://{BUCKET}/{key}"


def body(client, key):
    return client.get_object(Bucket=BUCKET, Key=key)["Body"].read()


def fails(vacuole, *arguments):
    done = vacuole.run(*arguments, "--json", timeout=15)
    assert done.returncode != 0 and "panicked" not in done.stderr, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])["error"]


def test_contract_of_stores(vacuole, moto, client):
    program = vacuole.path.parent / "examples" / "store_contract"
    done = subprocess.run(
        [program, uri("contract")], env=moto.environment(**KEYS), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].endswith(" checks")
    assert client.list_objects_v2(Bucket=BUCKET, Prefix="contract")["KeyCount"] == 0
    assert "Uploads" not in client.list_multipart_uploads(Bucket=BUCKET)


@pytest.mark.parametrize("key", ["empty//part", "/first", "last//", "three///x", "//"])
def test_keys_with_empty_parts_are_keys(key, there, client, tmp_path):
    """Each call about one object takes them as they are, and leaves the object of the shorter key alone."""
    shorter = "/".join(part for part in key.split("/") if part) or "x"
    client.put_object(Bucket=BUCKET, Key=shorter, Body=b"another")
    client.put_object(Bucket=BUCKET, Key=key, Body=b"odd")
    assert there("bucket", "cat", uri(key)).stdout == "odd"
    if not key.endswith("/"):
        there("bucket", "fetch", uri(key), tmp_path / "out")
        assert (tmp_path / "out").read_text() == "odd"
        (tmp_path / "new").write_text("put")
        there("bucket", "put", tmp_path / "new", uri(key))
        assert body(client, key) == b"put"
        assert json.loads(there("bucket", "stat", uri(key), "--json").stdout)["size"] == 3
        there("bucket", "meta", uri(key), "--set", "a=b")
        assert client.head_object(Bucket=BUCKET, Key=key)["Metadata"]
        there("bucket", "rm", uri(key))
        assert key not in [item["Key"] for item in client.list_objects_v2(Bucket=BUCKET)["Contents"]]
    listed = json.loads(there("bucket", "ls", uri(""), "--recursive", "--json").stdout)
    assert (key in [item["key"] for item in listed]) == key.endswith("/")
    assert body(client, shorter) == b"another"
    client.delete_object(Bucket=BUCKET, Key=key)


def test_folders_with_such_keys_are_no_folders_on_disk(there, client, tmp_path):
    for key in ("odd/a//b", "odd/a/b", "odd/c"):
        client.put_object(Bucket=BUCKET, Key=key, Body=key.encode())
    listed = json.loads(there("bucket", "ls", uri("odd/a/"), "--json").stdout)
    assert sorted(item.get("key") or item.get("prefix") for item in listed) == ["odd/a/b", "odd/a//"] or len(listed) == 2
    for command in ("fetch", "sync"):
        error = fails(there, "bucket", command, uri("odd/"), tmp_path / "out")
        assert error["kind"] == "invalid_input" and "'odd/a//b' has an empty part" in error["message"], error
        assert "nothing was downloaded" in error["message"] and not (tmp_path / "out").exists()
    # What is synchronised upwards does not meet them.
    (tmp_path / "in/a").mkdir(parents=True)
    (tmp_path / "in/a/b").write_text("from disk")
    there("bucket", "sync", tmp_path / "in", uri("odd/"))
    assert body(client, "odd/a/b") == b"from disk" and body(client, "odd/a//b") == b"odd/a//b"


def test_experiments_and_files_have_no_such_keys(there, client, inputs, tmp_path):
    """Refused by name, never taken for what has the shorter key."""
    h5ad = inputs.h5ad("uns_nested")
    client.upload_file(str(h5ad), BUCKET, "place/x.h5ad")
    for odd in (uri("place//x.h5ad"), uri("/place/x.h5ad")):
        for arguments in (
            ("show", odd),
            ("count", odd),
            ("verify", odd),
            ("ingest", tmp_path / "store", odd),
            ("ingest", odd, h5ad),
            ("query", h5ad, "-o", odd),
        ):
            error = fails(there, *arguments)
            assert error["kind"] == "invalid_input" and "empty parts" in error["message"], (arguments, error)
    assert body(client, "place/x.h5ad") == h5ad.read_bytes()
    assert client.list_objects_v2(Bucket=BUCKET, Prefix="place")["KeyCount"] == 1


def test_what_is_in_an_archive(there, client, tmp_path):
    """Listed and described as ever; read or copied it is an error that says so, and leaves no file."""
    client.put_object(Bucket=BUCKET, Key="cold/a", Body=b"archived", StorageClass="GLACIER")
    client.put_object(Bucket=BUCKET, Key="cold/large", Body=bytes(9 << 20), StorageClass="DEEP_ARCHIVE")
    listed = json.loads(there("bucket", "ls", uri("cold/"), "--json").stdout)
    assert [item["storage_class"] for item in listed] == ["GLACIER", "DEEP_ARCHIVE"]
    assert json.loads(there("bucket", "stat", uri("cold/a"), "--json").stdout)["storage_class"] == "GLACIER"
    out = tmp_path / "out"
    out.mkdir()
    for arguments in (
        ("cat", uri("cold/a")),
        ("fetch", uri("cold/a"), out / "a"),
        ("fetch", uri("cold/large"), out / "large"),
        ("fetch", uri("cold/"), out),
        ("sync", uri("cold/"), out),
        ("meta", uri("cold/a"), "--set", "a=b"),
    ):
        error = fails(there, "bucket", *arguments)
        assert error["kind"] == "unsupported" and "archive" in error["message"], (arguments, error)
        assert "restore-object" in error["remedy"] and "s3://cells/cold/" in error["object"], error
    assert list(out.rglob("*")) == []


def test_an_old_version_in_an_archive_is_not_put_on_top(there, client):
    client.create_bucket(Bucket="kept")
    client.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
    old = client.put_object(Bucket="kept", Key="x", Body=b"old", StorageClass="GLACIER")["VersionId"]
    client.put_object(Bucket="kept", Key="x", Body=b"new")
    error = fails(there, "bucket", "restore", "s3://kept/x", "--version", old)
    assert error["kind"] == "unsupported" and "archive" in error["message"], error
    assert client.get_object(Bucket="kept", Key="x")["Body"].read() == b"new"
    # Where the newest is a mark of deletion, the one before cannot come back either.
    client.delete_object(Bucket="kept", Key="y")
    client.put_object(Bucket="kept", Key="y", Body=b"old", StorageClass="GLACIER")
    client.delete_object(Bucket="kept", Key="y")
    assert fails(there, "bucket", "restore", "s3://kept/y")["kind"] == "unsupported"


ROLE = """[profile base]
aws_access_key_id = any-key
aws_secret_access_key = any-secret
[profile lab]
role_arn = arn:aws:iam::123456789012:role/lab
source_profile = base
"""


@pytest.fixture
def role(moto, tmp_path):
    """Variables under which a profile assumes a role; S3 and STS have endpoints of their own."""
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/config").write_text(ROLE)
    made = moto.environment(HOME=str(tmp_path), AWS_PROFILE="lab")
    del made["AWS_ENDPOINT_URL"]
    return made | {"AWS_ENDPOINT_URL_S3": moto.endpoint, "AWS_ENDPOINT_URL_STS": moto.endpoint}


def test_a_role_that_a_profile_assumes(role, vacuole, moto, client):
    client.put_object(Bucket=BUCKET, Key="by-role", Body=b"x")
    before = moto.log().count('"POST / ')
    assert vacuole.within(role)("bucket", "cat", uri("by-role")).stdout == "x"
    assert moto.log().count('"POST / ') == before + 1
    checks = json.loads(vacuole.within(role)("bucket", "doctor", uri("doctor"), "--json").stdout)
    # Keys of a role begin so.
    assert "temporary key ASIA" in json.dumps(checks)


def test_no_role_without_its_service(role, vacuole):
    """Nobody is at the port of discards."""
    error = fails(vacuole.within(role | {"AWS_ENDPOINT_URL_STS": "http://127.0.0.1:9"}), "bucket", "ls", uri(""))
    assert error["kind"] == "permission_denied" and "profile 'lab'" in error["message"], error
