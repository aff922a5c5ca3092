"""The JSON Schema of the plan file, from the models that check it, for editors and CI.

`okta-keys schema plan` prints it. It refuses whatever is not supported yet. What
a schema cannot say (unique names, time zones and files that exist) is left to the loader.
"""

from __future__ import annotations

import json

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from orchestrator.plan.schema import Plan

EXAMPLE = {
    "version": 1,
    "name": "finance-2026-q4",
    "jobs": [
        {
            "name": "finance-signing",
            "source": {
                "app": "0oa8ae1t5yev2ajDs0h7",
                "key": "w__Yr9AElCftDtLP5CmjzZFMKXndqHtx7B3QPkg8jrI",
            },
            "targets": [
                "0oa8ae0dv4RGQvjyZ0h7",
                {"label": "Finance EU"},
                {"expiring_within": "60d"},
                {"file": "targets.csv"},
            ],
            "exclude": [{"label_prefix": "Test"}],
            "verify": "read_back",
            "activate": {
                "gate": {
                    "after": "14d",
                    "window": "Sat 02:00-06:00 Europe/London",
                    "acknowledged": True,
                },
                "waves": [1, "10%", "100%"],
                "pause": "10m",
            },
        }
    ],
    "hooks": [{"on": "target_staged", "run": ["./upload-to-sp.sh"], "timeout": "60s"}],
    "report": {"handoff": "certificates"},
}


class PlanSchema(GenerateJsonSchema):
    """Generates what a YAML author may write, which is less than what Python may pass."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """Leave null out: in a plan, a key without a value is a mistake."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Leave defaults out that are not in the words of a plan file, such as null or 0.9."""
        inner = self.generate_inner(schema["schema"])
        default = schema.get("default")
        if isinstance(default, str):
            inner["default"] = str(default)  # of an enum, too
        elif isinstance(default, int):
            inner["default"] = default
        return inner

    def field_title_should_be_set(
        self,
        schema: object,  # noqa: ARG002 - pydantic's signature
    ) -> bool:
        """Leave titles out: they would only repeat the key."""
        return False


def plan_schema() -> dict[str, object]:
    """Return the JSON Schema (draft 2020-12) of the plan file."""
    schema = Plan.model_json_schema(schema_generator=PlanSchema)
    return {
        "$schema": PlanSchema.schema_dialect,
        **schema,
        "title": "okta-key-orchestrator plan",
        "examples": [EXAMPLE],
    }


def plan_schema_text() -> str:
    """Return the shipped form of the schema, byte for byte."""
    return json.dumps(plan_schema(), indent=2) + "\n"
