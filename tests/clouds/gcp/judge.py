"""What Google's own client reads from a server of secrets, with each of these credentials.

Arguments: the server's address, files of credentials. GCE_METADATA_HOST: where a machine is told its token."""

import json
import sys

import google.auth
import google.auth.compute_engine
import google.auth.iam
import google.oauth2.credentials
from google.api_core.exceptions import GoogleAPICallError
from google.auth import identity_pool
from google.cloud.secretmanager_v1 import SecretManagerServiceClient
from google.cloud.secretmanager_v1.services.secret_manager_service.transports.rest import (
    SecretManagerServiceRestTransport as Rest,
)

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
address, *files = sys.argv[1:]
# This library takes these places from no file.
iam = google.auth.iam
iam._IAM_ENDPOINT = iam._IAM_ENDPOINT.replace("https://iamcredentials.googleapis.com", f"http://{address}")
google.oauth2.credentials._GOOGLE_OAUTH2_TOKEN_ENDPOINT = f"http://{address}/token"


def load(file):
    with open(file) as text:
        info = json.load(text)
    # Which project it is of would be asked elsewhere.
    if info["type"] == "external_account":
        return identity_pool.Credentials.from_info(info, scopes=[SCOPE])
    return google.auth.load_credentials_from_file(file, scopes=[SCOPE])[0]


def client(credentials, **options):
    return SecretManagerServiceClient(
        transport=Rest(host=address, url_scheme="http", credentials=credentials, **options)
    )


def read(its, name):
    try:
        version = its.access_secret_version(name=f"projects/p-1/secrets/{name}")
        return [version.name, version.payload.data.hex(), version.payload.data_crc32c]
    except GoogleAPICallError as error:
        return [type(error).__name__]


said = {}
for file in files:
    said[file] = read(client(load(file)), "db/versions/latest")
credentials = load(files[0])
said["signed"] = read(client(credentials, always_use_jwt_access=True), "db/versions/latest")
said["machine"] = read(client(google.auth.compute_engine.Credentials()), "db/versions/latest")
its = client(credentials)
for version in ["db/versions/1", "db/versions/live", "db/versions/9", "none/versions/latest", "off/versions/latest"]:
    said[version] = read(its, version)
said["names"] = [it.name for it in its.list_secrets(request={"parent": "projects/p-1", "page_size": 2})]
json.dump(said, sys.stdout)
