"""The modules of the page become one: in the order of their imports, and nothing that is not understood passes."""

import pytest

from kd_sweep.service.http.answers.page_script import page_script

MODULES = {
    "main.js": 'import { one as first, Two } from "./parts/two.js";\nimport { h } from "./vendor/h.js";\n'
    "h(first, Two);\n",
    "parts/two.js": 'import { h } from "../vendor/h.js";\nexport const one = h(1);\nexport class Two {}\n'
    "export async function three() {}\nfunction own() {}\n",
    "unused.js": "export function unused() {}\n",
}


def test_a_module_is_a_block_behind_what_it_imports() -> None:
    assert page_script(MODULES, "main.js") == (
        'import * as foreign0 from "./vendor/h.js";\n'
        'const modules = { "vendor/h.js": foreign0 };\n'
        "{ // parts/two.js\n"
        'const { h } = modules["vendor/h.js"];\n'
        "const one = h(1);\n"
        "class Two {}\n"
        "async function three() {}\n"
        "function own() {}\n"
        'modules["parts/two.js"] = { one, Two, three };\n'
        "}\n"
        "{ // main.js\n"
        'const { one : first, Two } = modules["parts/two.js"];\n'
        'const { h } = modules["vendor/h.js"];\n'
        "h(first, Two);\n"
        'modules["main.js"] = {  };\n'
        "}\n"
    )


@pytest.mark.parametrize(
    "line",
    [
        'import all from "./a.js";',
        'import "./a.js";',
        'import * as a from "./a.js";',
        'import { a } from "elsewhere";',
        "export default 1;",
        "export let a = 1;",
        'export { a } from "./a.js";',
    ],
)
def test_another_form_of_import_or_export_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"main\.js: '(import|export) .* is no import or export as"):
        page_script({"main.js": f"{line}\n"}, "main.js")


def test_modules_that_import_each_other_are_refused() -> None:
    circle = {"a.js": 'import { b } from "./b.js";\n', "b.js": 'import { a } from "./a.js";\n'}
    with pytest.raises(ValueError, match=r"a\.js > b\.js > a\.js"):
        page_script(circle, "a.js")
