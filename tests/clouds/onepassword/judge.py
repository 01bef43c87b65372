"""What 1Password's own client reads from a Connect server, which is the fake of these tests.

Arguments: its URL and token, a vault's and an item's id."""

import json
import sys

from onepasswordconnectsdk.client import new_client

url, token, vault, item = sys.argv[1:]
client = new_client(url, token)
by_title = client.get_item("db", "Prod")
by_id = client.get_item_by_id(item, vault)
assert by_title.id == by_id.id == item and client.get_vault_by_title("Prod").id == vault
sections = {section.id: section.label for section in by_id.sections}
file = client.get_files(item, vault)[0]
print(json.dumps({
    "fields": {f"{sections.get(field.section.id) + '/' if field.section else ''}{field.label}": field.value for field in by_id.fields},
    "codes": [field.totp for field in by_id.fields if field.totp],
    "version": by_id.version,
    "items": [entry.title for entry in client.get_items(vault)],
    "listed": [entry.version for entry in client.get_items(vault)],
    "file": [file.name, client.get_file_content(file.id, item, vault).hex()],
}))
for wrong in (lambda: client.get_item("none", "Prod"), lambda: client.get_vault("z" * 26), lambda: new_client(url, "x").get_vaults()):
    try:
        wrong()
    except Exception:
        continue
    raise AssertionError("it has not failed")
