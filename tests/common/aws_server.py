"""AWS as moto has it, with its checks of signatures and policies on, and an administrator (boto3) at the door of stdin:
a line is {"service", "region", "call", "args"}, and so is what comes back: its result, or {"error": CODE}.

Ends with who has started it."""

import base64
import json
import os
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from moto import settings
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

port = int(sys.argv[1])
server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
server.start()
address = f"http://127.0.0.1:{server.get_host_and_port()[1]}"


def client(service, region, keys):
    # What the real service refuses has to reach it.
    how = Config(parameter_validation=False, retries={"max_attempts": 1})
    key, secret = keys
    return boto3.client(
        service, region, endpoint_url=address, aws_access_key_id=key, aws_secret_access_key=secret, config=how
    )


iam = client("iam", "us-east-1", ("first", "first"))
iam.create_user(UserName="admin")
every = {"Effect": "Allow", "Action": "*", "Resource": "*"}
policy = json.dumps({"Version": "2012-10-17", "Statement": [every]})
iam.put_user_policy(UserName="admin", PolicyName="all", PolicyDocument=policy)
key = iam.create_access_key(UserName="admin")["AccessKey"]
keys = key["AccessKeyId"], key["SecretAccessKey"]
settings.INITIAL_NO_AUTH_ACTION_COUNT = 0.0

clients = {}
print(json.dumps({"address": address}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    where = asked["service"], asked["region"]
    if where not in clients:
        clients[where] = client(*where, keys)
    args = asked["args"]
    if "SecretBinary" in args:
        args["SecretBinary"] = base64.b64decode(args["SecretBinary"])
    try:
        result = getattr(clients[where], asked["call"])(**args)
        result.pop("ResponseMetadata", None)
    except ClientError as error:
        result = {"error": error.response["Error"]["Code"]}
    show = lambda it: base64.b64encode(it).decode() if isinstance(it, bytes) else str(it)
    print(json.dumps(result, default=show), flush=True)
os._exit(0)
