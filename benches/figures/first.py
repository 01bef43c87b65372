"""The first secret by a provider's own client: seconds from making the client to the value, its imports not counted.

Arguments: what the config of secretfs says of the provider, between its braces; the path of the secret."""

import os
import sys
import time

import yaml

config, path = yaml.safe_load("{" + sys.argv[1] + "}"), sys.argv[2]
auth = config.get("auth", {})


def own(reference):
    with open(reference.removeprefix("file:")) as file:
        return file.read().strip()


def aws(service):
    import boto3

    keys = {"aws_access_key_id": auth["access_key_id"], "aws_secret_access_key": own(auth["secret_access_key"])}
    return lambda: boto3.client(service, region_name=config["region"], endpoint_url=config["address"], **keys)


def aws_sm():
    make = aws("secretsmanager")
    return lambda: make().get_secret_value(SecretId=path)["SecretString"]


def aws_ssm():
    make = aws("ssm")
    return lambda: make().get_parameter(Name=path, WithDecryption=True)["Parameter"]["Value"]


def azure_kv():
    from azure.identity import ClientSecretCredential
    from azure.keyvault.secrets import SecretClient

    os.environ["REQUESTS_CA_BUNDLE"] = config["tls"]["ca"]
    who = [auth["tenant_id"], auth["client_id"], own(auth["client_secret"])]

    def read():
        found = ClientSecretCredential(*who, authority=auth["authority"], disable_instance_discovery=True)
        return SecretClient(config["address"], found, verify_challenge_resource=False).get_secret(path).value

    return read


def gcp_sm():
    from google.cloud.secretmanager_v1 import SecretManagerServiceClient
    from google.cloud.secretmanager_v1.services.secret_manager_service.transports.rest import (
        SecretManagerServiceRestTransport as Rest,
    )
    from google.oauth2.service_account import Credentials

    scope = ["https://www.googleapis.com/auth/cloud-platform"]
    name = f"projects/{config['project']}/secrets/{path}/versions/latest"
    scheme, host = config["address"].split("://")

    def read():
        key = Credentials.from_service_account_file(auth["key"].removeprefix("file:"), scopes=scope)
        client = SecretManagerServiceClient(transport=Rest(host=host, url_scheme=scheme, credentials=key))
        return client.access_secret_version(name=name).payload.data.decode()

    return read


def onepassword():
    from onepasswordconnectsdk.client import new_client

    vault, item = path.split("/")

    def read():
        return new_client(config["address"], own(auth["token"])).get_item(item, vault).fields[0].value

    return read


def kubernetes():
    import base64

    from kubernetes import client
    from kubernetes.config import list_kube_config_contexts, load_kube_config

    file = config["kubeconfig"]
    namespace = list_kube_config_contexts(file)[1]["context"]["namespace"]

    def read():
        load_kube_config(file)
        (value,) = client.CoreV1Api().read_namespaced_secret(path, namespace).data.values()
        return base64.b64decode(value).decode()

    return read


CLIENTS = {
    "aws-sm": aws_sm,
    "aws-ssm": aws_ssm,
    "azure-kv": azure_kv,
    "gcp-sm": gcp_sm,
    "1password": onepassword,
    "kubernetes": kubernetes,
}
read = CLIENTS[config["type"]]()
start = time.perf_counter()
value = read()
took = time.perf_counter() - start
assert value == "of " + config["type"], value
print(took)
