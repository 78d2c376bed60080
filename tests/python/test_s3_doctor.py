"""`vacuole bucket doctor`: all is well on a server that is; what is not is found, in time, in the words of other commands."""

import json
import socket
import time

import pytest
from seaweed import ADMIN, BUCKET, READER

CHECKS = "credentials endpoint dns tcp tls answer clock region list put get conditional multipart throughput delete"


def doctor(vacuole, environment, uri=f"s3://{BUCKET}/doctor", *options):
    begun = time.monotonic()
    done = vacuole.within(environment).run("bucket", "doctor", uri, *options, "--json", timeout=60)
    assert time.monotonic() - begun < 10
    assert "panicked" not in done.stderr and not any(keys[1] in done.stdout for keys in (ADMIN, READER)), done.stderr
    report, _ = json.JSONDecoder().raw_decode(done.stdout)
    assert report["ok"] == (done.returncode == 0)
    checks = {check["name"]: check for check in report["checks"]}
    assert " ".join(checks) == CHECKS
    assert all(check["detail"] and bool(check["remedy"]) == (check["state"] == "failed") for check in checks.values())
    return done, checks


def states(checks, state):
    return [name for name, check in checks.items() if check["state"] == state]


def test_all_is_well(vacuole, s3):
    done, checks = doctor(vacuole, s3.environment())
    assert done.returncode == 0
    assert states(checks, "skipped") == ["tls"]
    assert "admin-key" in checks["credentials"]["detail"] and "environment" in checks["credentials"]["detail"]
    assert "MB/s up" in checks["throughput"]["detail"]
    assert s3.keys("doctor") == {} and s3.uploads("doctor") == []
    text = vacuole.within(s3.environment())("bucket", "doctor", f"s3://{BUCKET}").stdout
    assert [line.split()[0] for line in text.splitlines()] == CHECKS.split()
    assert [key for key in s3.keys("") if "doctor" in key] == []


def test_read_only(vacuole, s3):
    for identity in (ADMIN, READER):
        done, checks = doctor(vacuole, s3.environment(identity), f"s3://{BUCKET}/doctor", "--read-only")
        assert done.returncode == 0
        assert states(checks, "skipped") == ["tls", *CHECKS.split()[9:]]
    done, checks = doctor(vacuole, s3.environment(READER))
    assert states(checks, "failed") == ["put"] and done.returncode == 9
    assert "AccessDenied" in checks["put"]["detail"]


@pytest.fixture(scope="module")
def silent():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    "identity, variables, bucket, failed, says",
    [
        (None, {}, BUCKET, ["credentials"], "found no credentials"),
        ((ADMIN[0], "wrong-secret"), {}, BUCKET, ["list", "put"], "SignatureDoesNotMatch"),
        (ADMIN, {}, "nowhere", ["list", "put"], "there is no bucket 'nowhere'"),
        (ADMIN, {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}, BUCKET, ["tcp"], "refused"),
        (ADMIN, {"AWS_ENDPOINT_URL_S3": "http://no-such-host.invalid"}, BUCKET, ["dns"], "cannot be reached"),
        (ADMIN, {"AWS_ENDPOINT_URL_S3": "silent"}, BUCKET, ["answer"], "no answer within"),
        (ADMIN, {"AWS_ENDPOINT_URL_S3": "https"}, BUCKET, ["tls"], "cannot be reached"),
    ],
)
def test_what_is_wrong(identity, variables, bucket, failed, says, vacuole, s3, silent):
    """The first that fails says what another command says, and what stands on it is skipped."""
    places = {"silent": silent, "https": s3.endpoint.replace("http", "https")}
    variables = {name: places.get(value, value) for name, value in variables.items()}
    environment = s3.environment(identity, **variables)
    done, checks = doctor(vacuole, environment, f"s3://{bucket}/doctor")
    assert states(checks, "failed") == failed
    assert says in checks[failed[0]]["detail"]
    other = vacuole.within(environment).run("count", f"s3://{bucket}/doctor", "--json", timeout=60)
    error = json.loads(other.stdout)["error"]
    assert says in error["message"] and error["remedy"] == checks[failed[0]]["remedy"]
    assert other.returncode == done.returncode
    last = CHECKS.split()[CHECKS.split().index(failed[-1]) + 1 :]
    assert all(f"{failed[-1]} failed" in checks[name]["detail"] for name in last) or failed == ["credentials"]


def test_what_is_no_bucket(vacuole, s3, tmp_path):
    assert vacuole.run("bucket", "doctor", str(tmp_path), "--json").returncode == 2
