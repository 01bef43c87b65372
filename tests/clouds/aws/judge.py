"""Whether questions to AWS are such as its own descriptions of its services (in botocore) take.

stdin: a line for each, [service, target, body]. stdout: what is wrong."""

import json
import sys

from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

for line in sys.stdin:
    service, target, body = json.loads(line)
    model = ServiceModel(Loader().load_service_model(service, "service-2"), service)
    prefix, action = target.split(".")
    if prefix != model.metadata["targetPrefix"]:
        print(f"{target}: the target begins with {model.metadata['targetPrefix']}")
    shape = model.operation_model(action).input_shape
    for name in body.keys() - shape.members.keys():
        print(f"{target}: no member {name}")
    report = ParamValidator().validate(body, shape).generate_report()
    if report:
        print(f"{target}: {report}")
