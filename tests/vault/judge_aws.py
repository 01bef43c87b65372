"""Whether a login at a Vault's `aws` mount is signed as botocore signs it, with the keys that stand here.

stdin: the body of the login. Arguments: key id, secret, session token or -, region, server id or -, URL."""

import base64
import datetime
import json
import sys
from unittest import mock

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

key, secret, session, region, server, url = sys.argv[1:]
login = json.load(sys.stdin)
plain = lambda name: base64.b64decode(login[name], validate=True).decode()
assert login["iam_http_request_method"] == "POST", login
assert plain("iam_request_url") == url, plain("iam_request_url")
assert plain("iam_request_body") == "Action=GetCallerIdentity&Version=2011-06-15"
headers = {name: values[0] for name, values in json.loads(plain("iam_request_headers")).items()}
given = headers.pop("authorization")
when = datetime.datetime.strptime(headers.pop("x-amz-date"), "%Y%m%dT%H%M%SZ")
now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
assert abs((now - when).total_seconds()) < 300, when
assert headers.pop("x-amz-security-token", "-") == session, "another session"
assert headers.get("x-vault-aws-iam-server-id", "-") == server, headers
assert server == "-" or "x-vault-aws-iam-server-id" in given, "it is not signed"
keys = Credentials(key, secret, None if session == "-" else session)
request = AWSRequest("POST", url, data=plain("iam_request_body"), headers=headers)
request.context = {}
with mock.patch("botocore.auth.get_current_datetime", return_value=when):
    SigV4Auth(keys, "sts", region).add_auth(request)
assert request.headers["Authorization"] == given, "another signature"
