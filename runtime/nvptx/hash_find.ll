; Gives the entry's address, with 1 added where this call made it; 0 where there is none or no room.
; Words in <> are filled in for a map.
define internal i64 @<name>(i64 %head, i64 %hash, i64 %add<parameters>) alwaysinline #0 {
start:
  %first = lshr i64 %hash, 3
  %tag = and i64 %hash, <tag>
  %data = add i64 %head, <data>
  %used = add i64 %head, <used>
  %may = icmp ne i64 %add, 0
  br label %look
look:
  %at = phi i64 [ %first, %start ], [ %after, %next ], [ %at, %wait ], [ %at, %lost ]
  %n = phi i64 [ 0, %start ], [ %more, %next ], [ %n, %wait ], [ %n, %lost ]
  %polls = phi i64 [ 0, %start ], [ %polls, %next ], [ %polled, %wait ], [ %polls, %lost ]
  %index = and i64 %at, <mask>
  %distance = mul i64 %index, <entry>
  %place = add i64 %data, %distance
  %pointer = inttoptr i64 %place to ptr addrspace(1)
  %state = load volatile i64, ptr addrspace(1) %pointer, align 8
  %is_empty = icmp eq i64 %state, <empty>
  br i1 %is_empty, label %free, label %taken
taken:
  %its_tag = and i64 %state, <tag>
  %its_state = and i64 %state, <states>
  %alike = icmp eq i64 %its_tag, %tag
  br i1 %alike, label %mine, label %next
mine:
  %is_busy = icmp eq i64 %its_state, <busy>
  br i1 %is_busy, label %poll, label %compare
compare:
<compare>
  br i1 %equal, label %equal_key, label %poll
equal_key:
  %is_ready = icmp eq i64 %its_state, <ready>
  br i1 %is_ready, label %found, label %grave
grave:
  br i1 %may, label %room, label %none
poll:
  %polled = add i64 %polls, 1
  %patient = icmp ult i64 %polled, <limit>
  br i1 %patient, label %wait, label %next
wait:
<sleep>
  br label %look, !llvm.loop !1
next:
  %after = add i64 %at, 1
  %more = add i64 %n, 1
  %go_on = icmp ult i64 %more, <probes>
  br i1 %go_on, label %look, label %none, !llvm.loop !1
free:
  br i1 %may, label %room, label %none
room:
  %expected = phi i64 [ <empty>, %free ], [ %state, %grave ]
  %count_at = inttoptr i64 %used to ptr addrspace(1)
  %count = load volatile i64, ptr addrspace(1) %count_at, align 8
  %is_room = icmp ult i64 %count, <most>
  br i1 %is_room, label %claim, label %none
claim:
  %wanted = or i64 %tag, <busy>
  %old = call i64 asm sideeffect "atom<scope>.global.cas.b64 $0, [$1], $2, $3;", "=l,l,l,l,~{memory}"(i64 %place, i64 %expected, i64 %wanted)
  %won = icmp eq i64 %old, %expected
  br i1 %won, label %book, label %lost
lost:
  br label %look, !llvm.loop !1
book:
  %before = call i64 asm sideeffect "atom<scope>.global.add.u64 $0, [$1], $2;", "=l,l,l,~{memory}"(i64 %used, i64 1)
  %fits = icmp ult i64 %before, <most>
  br i1 %fits, label %fill, label %back
back:
  call void asm sideeffect "red<scope>.global.add.u64 [$0], $1;", "l,l,~{memory}"(i64 %used, i64 -1)
<keys>
  %buried = or i64 %tag, <grave>
  call void asm sideeffect "<release>", "l,l,~{memory}"(i64 %place, i64 %buried)
  br label %none
fill:
<keys2>
<values>
  %done = or i64 %tag, <ready>
  call void asm sideeffect "<release>", "l,l,~{memory}"(i64 %place, i64 %done)
  %made = add i64 %place, 1
  ret i64 %made
found:
  ret i64 %place
none:
  ret i64 0
}
