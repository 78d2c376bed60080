"""`vacuole bucket` beside boto3: what either puts, the other finds exactly as it should be.

`test_bucket_resume.py` has interrupted transfers, `test_bucket_sync.py` folders that are kept in step.
"""

import base64
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from seaweed import BUCKET, READER

MIB = 1 << 20
SIZES = [0, 1, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 20 * MIB]
ODD = ["with space", "plus+plus", "per%20cent%", "naïve-日本-\U0001f9ec", "a=b&c?d#e", "quote'\"<x>", "~tilde/._-", "(a)/[b]/{c}!*"]


@pytest.fixture(scope="module")
def bucket(vacuole, s3):
    """The command line of buckets."""
    return vacuole.within(s3.environment())


@pytest.fixture(scope="module")
def client(s3):
    return s3.client()


def uri(key):
    return f"s3://{BUCKET}/{key}"


def answer(done):
    return json.loads(done.stdout)


def fails(vacuole, *arguments, kind, says=()):
    done = vacuole.run("bucket", *arguments, "--json")
    assert done.returncode != 0 and "panicked" not in done.stderr, done.stdout + done.stderr
    error = json.loads(done.stdout.splitlines()[-1])["error"]
    assert error["kind"] == kind, error
    for part in says:
        assert part in f"{error['message']}; {error['remedy']}", error
    return error


def noise(path, size):
    path.write_bytes(os.urandom(size))
    return path


def crc64nvme(data):
    """Bit by bit, as its definition has it."""
    table = []
    for n in range(256):
        for _ in range(8):
            n = (n >> 1) ^ (0x9A6C9329AC4BC9B5 if n & 1 else 0)
        table.append(n)
    crc = ~0 & (2**64 - 1)
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return base64.b64encode((crc ^ (2**64 - 1)).to_bytes(8, "big")).decode()


def composite(data):
    """The SHA-256 that S3 and Quilt make of parts of 8 MiB."""
    parts = [hashlib.sha256(data[i : i + 8 * MIB]).digest() for i in range(0, len(data), 8 * MIB)]
    return base64.b64encode(hashlib.sha256(b"".join(parts)).digest()).decode() + f"-{len(parts)}"


@pytest.mark.parametrize("size", SIZES)
def test_bytes_go_there_and_back(size, bucket, client, tmp_path):
    path = noise(tmp_path / "in.bin", size)
    key = f"sizes/{size}"
    done = answer(bucket("bucket", "put", path, uri(key), "--json"))["objects"][0]
    assert done["size"] == size and done["checksum"]["algorithm"] == "CRC64NVME"
    assert client.get_object(Bucket=BUCKET, Key=key)["Body"].read() == path.read_bytes()
    bucket("bucket", "fetch", uri(key), tmp_path / "out.bin")
    assert (tmp_path / "out.bin").read_bytes() == path.read_bytes()
    whole = subprocess.run([bucket.path, "bucket", "cat", uri(key)], capture_output=True, env=bucket.environment)
    assert whole.returncode == 0 and whole.stdout == path.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.bin", "out.bin"]


@pytest.mark.parametrize("size", [1, 9 * MIB])
def test_checksums_are_those_of_the_bytes(size, bucket, client, tmp_path):
    data = noise(tmp_path / "x", size).read_bytes()
    done = answer(bucket("bucket", "put", tmp_path / "x", uri("sums/crc"), "--json"))["objects"][0]
    if size < MIB:
        assert done["checksum"]["value"] == crc64nvme(data)
    found = client.head_object(Bucket=BUCKET, Key="sums/crc", ChecksumMode="ENABLED")
    if "ChecksumCRC64NVME" in found:
        assert found["ChecksumCRC64NVME"] == done["checksum"]["value"]
    done = answer(bucket("bucket", "put", tmp_path / "x", uri("sums/sha"), "--checksum", "sha256", "--json"))
    expected = composite(data) if size >= 8 * MIB else base64.b64encode(hashlib.sha256(data).digest()).decode()
    assert done["objects"][0]["checksum"]["value"] == expected
    found = client.head_object(Bucket=BUCKET, Key="sums/sha", ChecksumMode="ENABLED")
    assert found.get("ChecksumSHA256", expected) == expected
    fetched = answer(bucket("bucket", "fetch", uri("sums/sha"), tmp_path / "y", "--json"))["objects"][0]
    if "ChecksumSHA256" in found:
        assert fetched["verified"] == "SHA256"
    stat = answer(bucket("bucket", "stat", uri("sums/sha"), "--json"))
    assert stat["checksums"].get("SHA256") == found.get("ChecksumSHA256")


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "SHA1", "SHA256", "CRC64NVME"])
def test_checksums_of_others_are_verified(algorithm, bucket, client, tmp_path):
    data = os.urandom(100_000)
    if algorithm in ("CRC32C", "CRC64NVME"):
        import botocore.httpchecksum

        if algorithm.lower() not in botocore.httpchecksum._CHECKSUM_CLS:
            pytest.skip("botocore computes it only with awscrt")
    client.put_object(Bucket=BUCKET, Key="others/x", Body=data, ChecksumAlgorithm=algorithm)
    done = answer(bucket("bucket", "fetch", uri("others/x"), tmp_path / "x", "--json"))["objects"][0]
    assert done["verified"] == algorithm
    assert (tmp_path / "x").read_bytes() == data


@pytest.mark.parametrize("key", ODD)
def test_odd_keys(key, bucket, client, tmp_path):
    path = noise(tmp_path / "x", 10)
    key = f"odd/{key}"
    bucket("bucket", "put", path, uri(key))
    assert client.get_object(Bucket=BUCKET, Key=key)["Body"].read() == path.read_bytes()
    listed = answer(bucket("bucket", "ls", uri(key), "--recursive", "--json"))
    assert [item["key"] for item in listed] == [key]
    assert answer(bucket("bucket", "stat", uri(key), "--json"))["size"] == 10
    bucket("bucket", "meta", uri(key), "--set", "a=b")
    assert "helium" in client.head_object(Bucket=BUCKET, Key=key)["Metadata"]
    bucket("bucket", "fetch", uri(key), tmp_path / "y")
    assert (tmp_path / "y").read_bytes() == path.read_bytes()
    bucket("bucket", "rm", uri(key))
    assert client.list_objects_v2(Bucket=BUCKET, Prefix=key)["KeyCount"] == 0


def test_metadata_as_t4_kept_it(bucket, client, tmp_path):
    path = noise(tmp_path / "x.json", 10)
    bucket("bucket", "put", path, uri("meta/x.json"), "--meta", "name=thor", "--meta", '{"n": [1, 2.5, null], "é": "\U0001f9ec"}')
    expected = {"user_meta": {"name": "thor", "n": [1, 2.5, None], "é": "\U0001f9ec"}}
    assert answer(bucket("bucket", "meta", uri("meta/x.json"), "--json")) == expected
    found = client.head_object(Bucket=BUCKET, Key="meta/x.json")
    assert found["Metadata"] == {"helium": json.dumps(expected)}
    assert found["ContentType"] == "application/json"
    # What T4 wrote itself.
    t4 = {"user_meta": {"how": "lazily"}, "format": {"name": "json"}, "target": "json"}
    client.put_object(Bucket=BUCKET, Key="meta/t4", Body=b"{}", Metadata={"helium": json.dumps(t4)})
    assert answer(bucket("bucket", "meta", uri("meta/t4"), "--json")) == t4
    client.put_object(Bucket=BUCKET, Key="meta/null", Body=b"{}", Metadata={"helium": "null"})
    assert answer(bucket("bucket", "meta", uri("meta/null"), "--json")) is None
    client.put_object(Bucket=BUCKET, Key="meta/none", Body=b"{}")
    assert answer(bucket("bucket", "meta", uri("meta/none"), "--json")) == {}
    client.put_object(Bucket=BUCKET, Key="meta/bad", Body=b"{}", Metadata={"helium": "{"})
    fails(bucket, "meta", uri("meta/bad"), kind="corrupt", says=["helium", "JSON"])


def test_setting_metadata_keeps_all_else(bucket, client):
    t4 = {"user_meta": {"how": "lazily"}, "format": {"name": "json"}, "target": "json"}
    client.put_object(
        Bucket=BUCKET,
        Key="meta/kept",
        Body=b"{}",
        Metadata={"helium": json.dumps(t4), "other": "kept"},
        ContentType="application/x-mine",
        CacheControl="max-age=60",
        ContentDisposition="inline",
        ContentLanguage="de",
        Tagging="project=atlas&owner=me",
        StorageClass="STANDARD_IA",
        ServerSideEncryption="AES256",
    )
    before = client.head_object(Bucket=BUCKET, Key="meta/kept")
    set_to = answer(bucket("bucket", "meta", uri("meta/kept"), "--set", "name=thor", "--json"))
    assert set_to == t4 | {"user_meta": {"name": "thor"}}
    found = client.head_object(Bucket=BUCKET, Key="meta/kept")
    assert json.loads(found["Metadata"].pop("helium")) == set_to and found["Metadata"] == {"other": "kept"}
    for name in ("ContentType", "CacheControl", "ContentDisposition", "ContentLanguage", "StorageClass", "ServerSideEncryption"):
        assert found.get(name) == before.get(name), name
    tags = client.get_object_tagging(Bucket=BUCKET, Key="meta/kept")["TagSet"]
    assert sorted((tag["Key"], tag["Value"]) for tag in tags) == [("owner", "me"), ("project", "atlas")]
    stat = answer(bucket("bucket", "stat", uri("meta/kept"), "--json"))
    assert stat["metadata"]["other"] == "kept" and stat["encryption"] == before.get("ServerSideEncryption")
    assert stat["headers"]["cache-control"] == "max-age=60" and stat["content_type"] == "application/x-mine"


def test_metadata_too_large_is_refused_beforehand(bucket, client, tmp_path):
    path = noise(tmp_path / "x", 10)
    fails(bucket, "put", path, uri("meta/large"), "--meta", f"k={'x' * 2048}", kind="invalid_input", says=["2048"])
    assert client.list_objects_v2(Bucket=BUCKET, Prefix="meta/large")["KeyCount"] == 0


def test_headers_of_put(bucket, client, tmp_path):
    path = noise(tmp_path / "table.csv", 10)
    bucket("bucket", "put", path, uri("headers/"), "--storage-class", "STANDARD_IA", "--sse", "AES256")
    found = client.head_object(Bucket=BUCKET, Key="headers/table.csv")
    assert found["ContentType"] == "text/csv" and found["ServerSideEncryption"] == "AES256"
    assert found["StorageClass"] == "STANDARD_IA"
    bucket("bucket", "put", path, uri("headers/x"), "--content-type", "application/x-mine")
    assert client.head_object(Bucket=BUCKET, Key="headers/x")["ContentType"] == "application/x-mine"


def test_no_overwrite(bucket, client, tmp_path):
    path = noise(tmp_path / "x", 10)
    large = noise(tmp_path / "large", 9 * MIB)
    for source in (path, large):
        bucket("bucket", "put", source, uri("once"), "--no-overwrite")
        fails(bucket, "put", source, uri("once"), "--no-overwrite", kind="already_exists")
        client.delete_object(Bucket=BUCKET, Key="once")
    assert client.list_multipart_uploads(Bucket=BUCKET, Prefix="once").get("Uploads", []) == []


def test_a_folder_there_and_back(bucket, client, tmp_path):
    folder = tmp_path / "in"
    for name in ("a", "b/c", "b/d e/f+g", "empty"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode() if name != "empty" else b"")
    os.symlink(folder / "a", folder / "link")
    os.symlink(folder, folder / "loop")
    done = bucket("bucket", "put", folder, uri("folder"), "--json")
    assert "loop" in done.stderr
    keys = {"folder/a", "folder/b/c", "folder/b/d e/f+g", "folder/empty", "folder/link"}
    assert {item["key"] for item in answer(done)["objects"]} == keys
    client.put_object(Bucket=BUCKET, Key="folder/b/", Body=b"")
    bucket("bucket", "fetch", uri("folder/"), tmp_path / "out")
    assert (tmp_path / "out/b/d e/f+g").read_bytes() == b"b/d e/f+g" and (tmp_path / "out/link").read_bytes() == b"a"
    assert sum(path.is_file() for path in (tmp_path / "out").rglob("*")) == 5


def test_ls(bucket, client):
    for name in ("ls/a", "ls/b/c", "ls/b/d", "lsx"):
        client.put_object(Bucket=BUCKET, Key=name, Body=b"12345")
    assert bucket("bucket", "ls", uri("ls/")).stdout == "ls/b/\nls/a\n"
    assert bucket("bucket", "ls", uri("ls/"), "-r").stdout == "ls/a\nls/b/c\nls/b/d\n"
    assert "5 B" in bucket("bucket", "ls", uri("ls/"), "-l").stdout
    found = answer(bucket("bucket", "ls", uri("ls"), "--json"))
    assert [item["key"] for item in found] == ["ls/", "lsx"]
    etag = client.head_object(Bucket=BUCKET, Key="lsx")["ETag"].strip('"')
    assert found[1]["etag"] == etag and found[1]["size"] == 5 and found[1]["last_modified"].endswith("Z")
    fails(bucket, "ls", uri("nothing/"), kind="not_found")


def test_cat(bucket, client):
    client.put_object(Bucket=BUCKET, Key="cat", Body=b"0123456789")
    assert bucket("bucket", "cat", uri("cat")).stdout == "0123456789"
    assert bucket("bucket", "cat", uri("cat"), "--range", "2-4").stdout == "234"
    assert bucket("bucket", "cat", uri("cat"), "--range", "8-").stdout == "89"
    fails(bucket, "cat", uri("cat"), "--range", "4-2", kind="usage")
    fails(bucket, "cat", uri("cat"), "--range", "10-", kind="invalid_input", says=["10"])
    fails(bucket, "cat", uri("none"), kind="not_found")


def test_a_broken_pipe_is_no_error(bucket, client):
    client.put_object(Bucket=BUCKET, Key="pipe", Body=os.urandom(4 * MIB))
    script = f"'{bucket.path}' bucket cat {uri('pipe')} | head -c 10 | wc -c"
    done = subprocess.run(script, shell=True, capture_output=True, text=True, env=bucket.environment, timeout=60)
    assert done.stdout.strip() == "10" and done.stderr == ""


def test_rm(bucket, client):
    for name in ("rm/a", "rm/b/c", "rmx"):
        client.put_object(Bucket=BUCKET, Key=name, Body=b"x")
    fails(bucket, "rm", uri("rm/none"), kind="not_found")
    fails(bucket, "rm", uri("rm/"), kind="usage", says=["-r"])
    fails(bucket, "rm", "-r", f"s3://{BUCKET}", kind="usage")
    assert answer(bucket("bucket", "rm", "-r", uri("rm"), "--dry-run", "--json"))["removed"] == ["rm/a", "rm/b/c"]
    assert client.list_objects_v2(Bucket=BUCKET, Prefix="rm")["KeyCount"] == 3
    bucket("bucket", "rm", "-r", uri("rm"))
    assert [item["Key"] for item in client.list_objects_v2(Bucket=BUCKET, Prefix="rm")["Contents"]] == ["rmx"]
    fails(bucket, "rm", "-r", uri("rm/"), kind="not_found")


def test_keys_that_would_leave_the_folder(bucket, client, tmp_path):
    keys = ["CON", "Case", "case", "dup", "dup/below", "fine"]
    for key in keys:
        try:
            client.put_object(Bucket=BUCKET, Key=f"unsafe/{key}", Body=b"x")
        except client.exceptions.ClientError:
            # SeaweedFS cannot have a file and a folder of one name.
            assert key.startswith("dup")
    out = tmp_path / "out"
    error = fails(bucket, "fetch", uri("unsafe/"), out, kind="invalid_input", says=["nothing was downloaded"])
    for key in ("CON", "case"):
        assert f"unsafe/{key}'" in error["message"]
    assert "fine" not in error["message"] and not out.exists()


def test_many_small_objects(bucket, client, s3, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(2000):
        (folder / f"{number:04}").write_bytes(number.to_bytes(4, "big") * 1024)
    done = answer(bucket("bucket", "put", folder, uri("many/"), "--json"))
    assert len(done["objects"]) == 2000 and done["bytes"] == 2000 * 4096
    assert len(s3.keys("many/")) == 2000
    done = answer(bucket("bucket", "fetch", uri("many/"), tmp_path / "back", "--json"))
    assert len(done["objects"]) == 2000
    assert {item["verified"] for item in done["objects"]} <= {"CRC64NVME", "MD5"}
    for number in (0, 1234, 1999):
        assert (tmp_path / f"back/{number:04}").read_bytes() == (folder / f"{number:04}").read_bytes()
    assert len(answer(bucket("bucket", "rm", "-r", uri("many/"), "--json"))["removed"]) == 2000
    assert s3.keys("many/") == {}


def test_versions(bucket, s3, tmp_path):
    client = s3.client()
    name = "with-versions"
    client.create_bucket(Bucket=name)
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    there = f"s3://{name}/k"
    made = []
    for number in range(3):
        path = tmp_path / "x"
        path.write_bytes(b"v%d" % number)
        made.append(answer(bucket("bucket", "put", path, there, "--meta", f"n={number}", "--json"))["objects"][0]["version_id"])
    client.put_object(Bucket=name, Key="k2", Body=b"another")
    found = answer(bucket("bucket", "versions", there, "--json"))
    assert [item["version_id"] for item in found] == made[::-1]
    assert [item["is_latest"] for item in found] == [True, False, False]
    assert bucket("bucket", "cat", there, "--version", made[0]).stdout == "v0"
    bucket("bucket", "fetch", there, tmp_path / "old", "--version", made[1])
    assert (tmp_path / "old").read_bytes() == b"v1"
    restored = answer(bucket("bucket", "restore", there, "--version", made[0], "--json"))
    assert restored["version_id"] not in made
    assert bucket("bucket", "cat", there).stdout == "v0"
    assert answer(bucket("bucket", "meta", there, "--json")) == {"user_meta": {"n": "0"}}
    bucket("bucket", "rm", there)
    fails(bucket, "cat", there, kind="not_found")
    newest = answer(bucket("bucket", "versions", there, "--json"))[0]
    assert newest["is_delete_marker"] and newest["is_latest"]
    fails(bucket, "restore", there, "--version", newest["version_id"], kind="invalid_input", says=["delete marker"])
    bucket("bucket", "restore", there)
    assert bucket("bucket", "cat", there).stdout == "v0"
    fails(bucket, "restore", there, kind="usage", says=["--version"])
    bucket("bucket", "rm", there, "--version", made[2])
    left = answer(bucket("bucket", "versions", there, "--json"))
    assert made[2] not in [item["version_id"] for item in left]
    fails(bucket, "rm", there, "--version", made[2], kind="not_found")
    listed = answer(bucket("bucket", "ls", f"s3://{name}/", "-r", "--versions", "--json"))
    assert len(listed) == len(left) + 1


def test_no_right_to_write(vacuole, s3, bucket, tmp_path):
    reader = vacuole.within(s3.environment(READER))
    path = noise(tmp_path / "x", 9 * MIB)
    fails(reader, "put", path, uri("denied"), kind="permission_denied", says=["reader-key"])
    fails(bucket, "put", path, "s3://nowhere/x", kind="not_found", says=["no bucket"])
    fails(bucket, "stat", "s3://nowhere/x", kind="not_found", says=["no bucket"])


def test_progress_in_json(bucket, tmp_path):
    path = noise(tmp_path / "x", 9 * MIB)
    lines = bucket("bucket", "put", path, uri("progress"), "--progress", "json").stderr.splitlines()
    last = json.loads(lines[-1])["progress"]
    assert last == {"bytes": 9 * MIB, "total_bytes": 9 * MIB, "objects": 1, "total_objects": 1}


def test_encryption_and_class_by_the_names_of_tiledb(bucket, client, inputs, tmp_path):
    path = noise(tmp_path / "x", 10)
    kms = ("--config", "vfs.s3.sse=kms", "--config", "vfs.s3.sse_kms_key_id=test-key-1")
    bucket("bucket", "put", path, uri("kms"), *kms)
    found = client.head_object(Bucket=BUCKET, Key="kms")
    assert found["ServerSideEncryption"] == "aws:kms" and found["SSEKMSKeyId"].endswith("test-key-1")
    bucket("bucket", "fetch", uri("kms"), tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == path.read_bytes()
    settings = ("--config", "vfs.s3.sse=aes256", "--config", "vfs.s3.storage_class=STANDARD_IA")
    bucket.ingest(uri("encrypted"), inputs.h5ad("uns_nested"), *settings)
    keys = [item["Key"] for item in client.list_objects_v2(Bucket=BUCKET, Prefix="encrypted/")["Contents"]]
    assert len(keys) > 10
    for key in keys:
        found = client.head_object(Bucket=BUCKET, Key=key)
        assert found["ServerSideEncryption"] == "AES256" and found["StorageClass"] == "STANDARD_IA", key
    bucket("verify", uri("encrypted"))


def test_the_aws_cli_reads_what_we_put(bucket, s3, tmp_path):
    """In an environment of its own: it wants another botocore than boto3's."""
    repository = Path(__file__).resolve().parents[2]
    make = [sys.executable, repository / ".ci/python_env.py", repository / "tests/python/requirements-awscli.txt"]
    python = subprocess.run(make, capture_output=True, text=True, check=True).stdout.strip()
    aws = [Path(python).parent / "aws", "--endpoint-url", s3.endpoint, "s3"]
    path = noise(tmp_path / "x.h5ad", 9 * MIB)
    bucket("bucket", "put", path, uri("awscli/a b+c.h5ad"), "--meta", "name=thor")
    subprocess.run([*aws, "cp", uri("awscli/a b+c.h5ad"), tmp_path / "back"], check=True, env=bucket.environment)
    assert (tmp_path / "back").read_bytes() == path.read_bytes()
    subprocess.run([*aws, "cp", path, uri("awscli/theirs")], check=True, env=bucket.environment)
    done = answer(bucket("bucket", "fetch", uri("awscli/theirs"), tmp_path / "theirs", "--json"))
    assert (tmp_path / "theirs").read_bytes() == path.read_bytes() and done["bytes"] == 9 * MIB
