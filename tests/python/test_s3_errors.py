"""Keys, buckets and endpoints that are not right: an error of its kind within ten seconds, that says what was tried
and what to do, and no secret."""

import json
import socket
import time

import pytest
from seaweed import ADMIN, BUCKET, READER

SECRETS = (ADMIN[1], READER[1], "wrong-secret")
STORE = f"s3://{BUCKET}/errors/atlas"


@pytest.fixture(scope="module")
def atlas(inputs, vacuole, s3):
    vacuole.within(s3.environment()).ingest(STORE, inputs.h5ad("uns_nested"))
    return STORE


def fails(vacuole, environment, *arguments, kind, says, seconds=10):
    """The error object of a command that must fail in time."""
    begun = time.monotonic()
    done = vacuole.within(environment).run(*arguments, "--json", timeout=60)
    elapsed = time.monotonic() - begun
    assert done.returncode != 0 and "panicked" not in done.stderr, done.stderr
    assert elapsed < seconds, f"{elapsed:.1f} s"
    assert not any(secret in done.stdout + done.stderr for secret in SECRETS)
    error = json.loads(done.stdout.splitlines()[-1])["error"]
    assert error["kind"] == kind, error
    text = f"{error['message']}; {error['remedy']}"
    for part in says:
        assert part in text, error
    assert error["object"].startswith("s3://"), error
    return error


def both(vacuole, environment, h5ad, **expected):
    """Reading and writing."""
    fails(vacuole, environment, "count", STORE, **expected)
    fails(vacuole, environment, "ingest", STORE, h5ad, **expected)
    fails(vacuole, environment, "ingest", "nowhere", "s3://cells/errors/x.h5ad", **expected)


def test_no_credentials(vacuole, s3, inputs):
    says = ["no credentials", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "--no-sign-request", "metadata service"]
    both(vacuole, s3.environment(None), inputs.h5ad("layers"), kind="permission_denied", says=says)


def test_unknown_profile(vacuole, s3):
    says = ["nobody", "AWS_PROFILE"]
    environment = s3.environment(None, AWS_PROFILE="nobody")
    fails(vacuole, environment, "count", STORE, kind="permission_denied", says=says)


def test_wrong_secret(vacuole, s3, inputs):
    says = ["SignatureDoesNotMatch", "key admin-key of AWS_ACCESS_KEY_ID", "correct the key", s3.endpoint]
    environment = s3.environment((ADMIN[0], "wrong-secret"))
    both(vacuole, environment, inputs.h5ad("layers"), kind="permission_denied", says=says)


def test_unknown_key(vacuole, s3):
    environment = s3.environment(("nobodys-key", "wrong-secret"))
    fails(vacuole, environment, "show", STORE, kind="permission_denied", says=["InvalidAccessKeyId", "nobodys-key"])


def test_missing_bucket(vacuole, s3, inputs):
    environment, says = s3.environment(), ["no bucket 'nowhere'", s3.endpoint, "AWS_ENDPOINT_URL_S3"]
    for arguments in (
        ("count", "s3://nowhere/x"),
        ("ingest", "s3://nowhere/x", inputs.h5ad("layers")),
        ("ingest", "x", "s3://nowhere/x.h5ad"),
        ("verify", "s3://nowhere/x"),
    ):
        fails(vacuole, environment, *arguments, kind="not_found", says=says)


def test_missing_object(vacuole, s3):
    environment = s3.environment()
    fails(vacuole, environment, "count", f"s3://{BUCKET}/none", kind="not_found", says=["no SOMA object"])
    missing = f"s3://{BUCKET}/none.h5ad"
    fails(vacuole, environment, "ingest", "x", missing, kind="not_found", says=["no such object", BUCKET])


def test_denied(atlas, vacuole, s3, inputs, tmp_path):
    """The reader may read, and not write."""
    environment = s3.environment(READER)
    assert vacuole.within(environment).count(atlas) > 0
    says = ["AccessDenied", "key reader-key", "allow it"]
    expected = {"kind": "permission_denied", "says": says}
    fails(vacuole, environment, "ingest", f"s3://{BUCKET}/denied", inputs.h5ad("layers"), **expected)
    fails(vacuole, environment, "export", atlas, f"s3://{BUCKET}/denied.h5ad", **expected)
    assert s3.keys("denied") == {}


def test_unsigned(atlas, vacuole, s3):
    """Refused by a bucket that is not public, taken by one that is; no credentials are looked for."""
    environment = s3.environment(None)
    arguments = ("--no-sign-request", "count", atlas)
    fails(vacuole, environment, *arguments, kind="permission_denied", says=["no credentials", "AccessDenied"])
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": ["s3:GetObject", "s3:ListBucket"],
        "Resource": [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"],
    }
    client = s3.client()
    client.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    try:
        for more, options in (
            ({}, ["--no-sign-request"]),
            ({"AWS_NO_SIGN_REQUEST": "YES"}, []),
            ({}, ["--config", "vfs.s3.no_sign_request=true"]),
        ):
            vacuole.within(s3.environment(None, **more))("count", atlas, *options)
    finally:
        client.delete_bucket_policy(Bucket=BUCKET)


@pytest.mark.parametrize("place", ["refuses", "is silent", "is no host"])
def test_endpoint(place, vacuole, s3, inputs):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
        says = [endpoint, "AWS_ENDPOINT_URL_S3"]
        if place == "is silent":
            listener.listen(100)
            says.append("no answer within")
        elif place == "refuses":
            says.append("refused")
        else:
            endpoint = "http://no-such-host.invalid:9000"
            says[0] = endpoint
        environment = s3.environment(AWS_ENDPOINT_URL_S3=endpoint)
        fails(vacuole, environment, "count", STORE, kind="io", says=says)
        if place == "refuses":
            both(vacuole, environment, inputs.h5ad("layers"), kind="io", says=says)


def test_configuration(atlas, vacuole, s3, tmp_path):
    """Where credentials, region and endpoint can come from: profiles, a process, TileDB's names."""
    home = tmp_path / "home"
    (home / ".aws").mkdir(parents=True)
    process = home / "credentials.sh"
    answer = {"Version": 1, "AccessKeyId": ADMIN[0], "SecretAccessKey": ADMIN[1]}
    process.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
    process.chmod(0o755)
    (home / ".aws/config").write_text(
        f"[default]\nregion = us-east-1\nendpoint_url = {s3.endpoint}\n"
        f"[profile process]\nregion = us-east-1\nservices = local\ncredential_process = {process}\n"
        f"[services local]\ns3 =\n  endpoint_url = {s3.endpoint}\n"
    )
    (home / ".aws/credentials").write_text(
        f"[default]\naws_access_key_id = {READER[0]}\naws_secret_access_key = {READER[1]}\n"
    )
    bare = {k: v for k, v in s3.environment(None).items() if not k.startswith("AWS_")} | {"HOME": str(home)}
    for more in ({}, {"AWS_PROFILE": "process"}):
        assert vacuole.within(bare | more).count(atlas) > 0
    nothing = bare | {"HOME": str(tmp_path)}
    named = [part for name, value in s3.tiledb().items() for part in ("--config", f"{name}={value}")]
    vacuole.within(nothing)(*named, "count", atlas)
    vacuole.within(nothing)("count", atlas, *named)


@pytest.mark.parametrize(
    "setting, says",
    [
        ("vfs.s3.ca_file=x", "vfs.s3.ca_file: expected one of vfs.s3.aws_access_key_id"),
        ("vfs.s3.no_sign_request=maybe", "expected true or false, found 'maybe'"),
        ("wrong-secret", "expected NAME=VALUE"),
    ],
)
def test_wrong_setting(setting, says, vacuole):
    done = vacuole.run("--config", setting, "count", STORE, "--json")
    assert done.returncode == 2
    error = json.loads(done.stdout)["error"]
    assert error["kind"] == "usage" and says in error["message"]
    assert "wrong-secret" not in done.stdout + done.stderr


@pytest.mark.parametrize("uri", ["s3://", "s3:///x", "s3://a@b/x", "s3://b/a//c", "s3://b/../c"])
def test_no_such_uri(uri, vacuole, s3):
    done = vacuole.within(s3.environment()).run("count", uri, "--json", timeout=20)
    assert done.returncode == 5, done.stderr
    assert json.loads(done.stdout)["error"]["kind"] == "invalid_input"
