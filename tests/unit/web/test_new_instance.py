from __future__ import annotations

from ui.web.new_instance import field_errors, manifest_of


def test_empty_fields_are_left_out_so_that_defaults_apply() -> None:
    values = {"name": " web ", "repository": "shop", "branch": "", "prompt": "  \n", "permission_mode": "", "cpus": ""}
    assert manifest_of(values) == {"kind": "Instance", "metadata": {"name": "web"}, "spec": {"repository": "shop"}}


def test_a_prompt_keeps_its_spaces() -> None:
    assert manifest_of({"name": "web", "prompt": "  one\n two \n"})["spec"]["prompt"] == "  one\n two \n"


def test_limits_go_where_they_belong() -> None:
    spec = manifest_of({"repository": "shop", "cpus": "1.5", "memory": "2Gi", "pids": "64"})["spec"]
    assert spec == {"repository": "shop", "resources": {"cpus": "1.5", "memory": "2Gi", "pids": "64"}}


def test_a_browser_cannot_add_fields() -> None:
    manifest = manifest_of({"name": "web", "status": "{}", "uid": "x", "env": "LD_PRELOAD=x"})
    assert manifest == {"kind": "Instance", "metadata": {"name": "web"}, "spec": {"repository": ""}}


def test_errors_find_their_fields_and_the_rest_is_said_below() -> None:
    shown, rest = field_errors(
        {"metadata.name": "is taken", "spec.resources.memory": "is too little", "spec.env": "is odd", "": "no"}
    )
    assert shown == {"name": "is taken", "memory": "is too little"}
    assert rest == ["spec.env: is odd", "no"]
