; Gives the position of a group's records, -1 where there is no room. One thread of each group calls it.
; Words in <> are filled in for a map. %pinned: tail (u64), and from byte <data> on the data.
define internal i64 @<name>(i64 %control, i64 %pinned, i64 %group, i64 %count) alwaysinline #0 {
start:
  %lost_at = add i64 %control, 8
  %seen_at = add i64 %control, 16
  %head_p = inttoptr i64 %control to ptr addrspace(1)
  %seen_p = inttoptr i64 %seen_at to ptr addrspace(1)
  %tail_p = inttoptr i64 %pinned to ptr addrspace(1)
  %fits = icmp ule i64 %group, <size>
  br i1 %fits, label %try, label %full
try:
  %n = phi i64 [ 0, %start ], [ %more, %again ]
  %position = load volatile i64, ptr addrspace(1) %head_p, align 8
  %offset = and i64 %position, <mask>
  %rest = sub i64 <size>, %offset
  %wraps = icmp ugt i64 %group, %rest
  %pad = select i1 %wraps, i64 %rest, i64 0
  %begin = add i64 %position, %pad
  %end = add i64 %begin, %group
  %seen = load volatile i64, ptr addrspace(1) %seen_p, align 8
  %used = sub i64 %end, %seen
  %room = icmp ule i64 %used, <size>
  br i1 %room, label %claim, label %refresh
refresh:
  %tail = load volatile i64, ptr addrspace(1) %tail_p, align 8
  call void asm sideeffect "red.global.max.u64 [$0], $1;", "l,l,~{memory}"(i64 %seen_at, i64 %tail)
  %used2 = sub i64 %end, %tail
  %room2 = icmp ule i64 %used2, <size>
  br i1 %room2, label %claim, label %full
claim:
  %old = call i64 asm sideeffect "atom.global.cas.b64 $0, [$1], $2, $3;", "=l,l,l,l,~{memory}"(i64 %control, i64 %position, i64 %end)
  %won = icmp eq i64 %old, %position
  br i1 %won, label %mine, label %again
again:
  %more = add i64 %n, 1
  %go_on = icmp ult i64 %more, <tries>
  br i1 %go_on, label %try, label %full, !llvm.loop !1
mine:
  br i1 %wraps, label %fill, label %done
fill:
  %data = add i64 %pinned, <data>
  %place = add i64 %data, %offset
  %unit = lshr i64 %position, 3
  %sequence = add i64 %unit, 1
  %high = shl i64 %sequence, 32
  %length = add i64 %rest, -8
  %low = or i64 %length, <padding>
  %word = or i64 %high, %low
  %place_p = inttoptr i64 %place to ptr addrspace(1)
  store volatile i64 %word, ptr addrspace(1) %place_p, align 8
  br label %done
done:
  ret i64 %begin
full:
  call void asm sideeffect "red.global.add.u64 [$0], $1;", "l,l,~{memory}"(i64 %lost_at, i64 %count)
  ret i64 -1
}
