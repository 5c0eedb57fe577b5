"""The one style of scripts: stable, the same program, comments where they were."""

from __future__ import annotations

import pytest

from bpftime_cli import scripts
from runtime.lang import Options, compile_script
from runtime.lang.pretty import pretty

UGLY = """#!/usr/bin/env bpftime
// head
struct s {int a;};
config={max_strlen=9;   missing_probes="warn"}
let @m=hash(5);
macro f($a,b){$a+=b;  $a}
fn g($x:int64):int64{return -$x;}
BEGIN{printf("%d\\n",-1);@x[1,2]=count();$a=(int64)5;if($a>3&&!$a){print($a-1)}else if ($a) {print(*$a)}else{}} // behind


uprobe:a:b,uprobe:c:d / arg0==5&&
(arg1>2)/{ /* inside */ @[comm]=count();
  // a line of its own
  for($i:0..5){$x=$i?1:2;@m[$i]=$x++;--$x;unroll(2){$t=(1,"a");print($t.0);}}
  @y=hist(arg0,
2); print(( int8 )-1); print({1}+2); while($x){break;} }
"""
PRETTY = """#!/usr/bin/env bpftime
// head
struct s {int a;};
config = {
  max_strlen = 9;
  missing_probes = "warn"
}
let @m = hash(5);
macro f($a, b) {
  $a += b;
  $a
}
fn g($x : int64) : int64 {
  return -$x;
}
BEGIN {
  printf("%d\\n", -1);
  @x[1, 2] = count();
  $a = (int64)5;
  if ($a > 3 && !$a) {
    print($a - 1)
  } else if ($a) {
    print(*$a)
  } else { }
} // behind

uprobe:a:b,
uprobe:c:d / arg0 == 5 && (arg1 > 2) / { /* inside */
  @[comm] = count();
  // a line of its own
  for ($i : 0..5) {
    $x = $i ? 1 : 2;
    @m[$i] = $x++;
    --$x;
    unroll (2) {
      $t = (1, "a");
      print($t.0);
    }
  }
  @y = hist(arg0,
    2);
  print((int8)-1);
  print({
    1
  } + 2);
  while ($x) {
    break;
  }
}
"""


def test_style() -> None:
    assert pretty(UGLY) == PRETTY
    assert pretty(PRETTY) == PRETTY


def programs(text: str) -> list[bytes]:
    compiled = compile_script(text, options=Options(anything=True, unsafe=True))
    return [program.insns for program in compiled.object.programs]


@pytest.mark.parametrize("name", scripts.names())
def test_ready_scripts_are_in_the_style(name: str) -> None:
    path = scripts.find(name)
    assert path is not None
    text = path.read_text()
    assert pretty(text) == text


@pytest.mark.parametrize("name", scripts.names())
def test_the_program_stays_the_same(name: str) -> None:
    path = scripts.find(name)
    assert path is not None
    text = path.read_text()
    squeezed = "\n".join(line.strip() for line in text.splitlines())
    assert pretty(squeezed).count("{") == text.count("{")
    assert programs(pretty(squeezed)) == programs(text)
