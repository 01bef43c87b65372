"""What Azure's own client reads from a key vault, which is the fake of these tests.

Arguments: the vault's URL, which is the authority's, too; the file of its certificate's authority; tenant, client and
secret of the application; a version of `db` that is not the newest."""

import json
import os
import sys

url, ca, tenant, client, secret, old = sys.argv[1:]
os.environ["REQUESTS_CA_BUNDLE"] = ca

from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.identity import ClientSecretCredential, ManagedIdentityCredential
from azure.keyvault.secrets import SecretClient


def application(secret):
    return ClientSecretCredential(tenant, client, secret, authority=url, disable_instance_discovery=True)


def vault(credential, **options):
    return SecretClient(url, credential, **{"verify_challenge_resource": False, "retry_total": 0, **options})


def failure(action):
    try:
        action()
    except (HttpResponseError, ValueError) as error:
        return error
    raise AssertionError("it has not failed")


found = vault(application(secret))
newest = found.get_secret("db")
told = {
    "value": newest.value,
    "version": newest.properties.version,
    "created": int(newest.properties.created_on.timestamp()),
    "pinned": found.get_secret("db", old).value,
    "folded": found.get_secret("DB").value,
    "names": sorted(it.name for it in found.list_properties_of_secrets()),
    "versions": len(list(found.list_properties_of_secret_versions("db"))),
    "expires": int(found.get_secret("over").properties.expires_on.timestamp()),
}
assert isinstance(failure(lambda: found.get_secret("none")), ResourceNotFoundError)
disabled = failure(lambda: found.get_secret("off"))
assert disabled.status_code == 403 and disabled.error.innererror["code"] == "SecretDisabled", disabled
wrong = failure(lambda: vault(application("wrong")).get_secret("db"))
assert isinstance(wrong, ClientAuthenticationError) and "AADSTS7000215" in str(wrong), wrong
told["strict"] = str(failure(lambda: vault(application(secret), verify_challenge_resource=True).get_secret("db")))
told["managed"] = vault(ManagedIdentityCredential()).get_secret("db").value
told["assigned"] = vault(ManagedIdentityCredential(client_id=client)).get_secret("db").value
print(json.dumps(told))
