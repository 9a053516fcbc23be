"""DynamoDB: MiniStack, a process of its own, with the tables of the template."""

import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import boto3

from .template import REGION
from .wire import listen


class DynamoDb:
    def __init__(self, folder):
        # The port of a listener that is closed again: MiniStack cannot choose one.
        listener, self.port = listen()
        listener.close()
        self.url = f"http://127.0.0.1:{self.port}"
        (folder / "tmp").mkdir()
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder / "tmp"), "GATEWAY_PORT": str(self.port),
                       "BIND_HOST": "127.0.0.1", "MINISTACK_REGION": REGION, "STATE_DIR": str(folder / "state"),
                       "S3_DATA_DIR": str(folder / "s3"), "IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0"}
        with (folder / "ministack.log").open("w") as log:
            self.process = subprocess.Popen([Path(sys.executable).with_name("ministack")], env=environment, cwd=folder,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        self.client = boto3.client("dynamodb", endpoint_url=self.url, region_name=REGION, aws_access_key_id="test",
                                   aws_secret_access_key="test")

    def wait_until_ready(self):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.url}/_ministack/health", timeout=2):
                    return
            except OSError:
                assert self.process.poll() is None, "MiniStack ended"
                time.sleep(0.05)
        raise AssertionError("MiniStack did not answer within 30 s")

    def create_table(self, name, properties):
        wanted = ("AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes")
        self.client.create_table(TableName=name, **{key: properties[key] for key in wanted if key in properties})

    def close(self):
        self.process.terminate()
        self.process.wait()
