/**
 * The page's style sheet.
 */
export const style: string = `
:root {
  --ground: #f6f6f9; --surface: #fff; --ink: #1c1c28; --quiet: #5b5b6e; --line: #dcdce6; --accent: #4f46e5;
  --on-accent: #fff; --bubble: #e7e7f0; --good: #0f8a4c; --wait: #b45309; --bad: #b42318;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #131318; --surface: #1c1c24; --ink: #ececf4; --quiet: #a3a3b8; --line: #33333f; --accent: #a5a0ff;
    --on-accent: #16142e; --bubble: #2a2a36; --good: #4ade80; --wait: #fbbf24; --bad: #ff9a8f;
  }
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body {
  display: flex; flex-direction: column; height: 100vh; height: 100dvh; margin: 0; background: var(--ground);
  color: var(--ink); font: 16px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
header {
  display: flex; flex-wrap: wrap; align-items: center; gap: .5rem 1.25rem; border-bottom: 1px solid var(--line);
  background: var(--surface); padding: .75rem 1rem;
}
h1, h2 { margin: 0; font-size: 1.05rem; font-weight: 650; letter-spacing: -.01em; }
h2 { min-width: 0; overflow-wrap: anywhere; }
ul, ol { margin: 0; padding: 0; list-style: none; }
form { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem; }
#connection { margin-left: auto; }
#connection label { color: var(--quiet); font-size: .9rem; }
#token { width: 11rem; }
#state { display: flex; align-items: center; gap: .45rem; margin: 0; color: var(--quiet); font-size: .9rem; }
.dot { flex: none; width: .6rem; height: .6rem; border-radius: 50%; background: var(--wait); }
[data-state=connected] .dot { background: var(--good); }
[data-state=disconnected] .dot { background: var(--bad); }
#problem, #refusal, #unusable { width: 100%; margin: 0; color: var(--bad); font-size: .9rem; overflow-wrap: anywhere; }
:is(#problem, #refusal, #unusable):empty { display: none; }
input, select, button {
  min-height: 2.4rem; border: 1px solid var(--line); border-radius: .55rem; padding: 0 .75rem; background: var(--ground);
  color: inherit; font: inherit;
}
input { min-width: 0; }
input::placeholder { color: var(--quiet); opacity: 1; }
input:user-invalid, [aria-invalid=true] { border-color: var(--bad); }
button { font-weight: 550; cursor: pointer; }
button:hover:enabled { border-color: var(--quiet); }
#send { border-color: transparent; background: var(--accent); color: var(--on-accent); }
#send:not([aria-disabled=true]):hover { filter: brightness(1.08); }
:disabled, [aria-disabled=true] { opacity: .55; cursor: default; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
main { display: flex; flex: 1; min-height: 0; }
nav {
  display: flex; flex: none; flex-direction: column; gap: .75rem; width: 17rem; border-right: 1px solid var(--line);
  overflow-y: auto; padding: 1rem;
}
#join { flex-wrap: nowrap; min-width: 0; }
#name { flex: 1; }
#channels { display: flex; flex-direction: column; gap: .25rem; }
#channels button {
  display: flex; gap: .5rem; align-items: center; justify-content: space-between; width: 100%; border-color: transparent;
  background: none; text-align: left;
}
#channels .name { min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: pre; }
#channels .tags { flex: none; }
#channels button[aria-current] { border-color: var(--line); background: var(--surface); }
#channels button.unread::after { content: ""; flex: none; width: .5rem; height: .5rem; border-radius: 50%; background: var(--accent); }
section { display: flex; flex: 1; flex-direction: column; min-width: 0; min-height: 0; }
#about {
  display: flex; flex-wrap: wrap; align-items: center; gap: .5rem 1rem; border-bottom: 1px solid var(--line);
  padding: .6rem 1rem;
}
#position { margin-right: auto; color: var(--quiet); font-size: .9rem; font-variant-numeric: tabular-nums; }
#who { width: 100%; color: var(--quiet); font-size: .9rem; }
#who summary { width: fit-content; cursor: pointer; font-variant-numeric: tabular-nums; }
#members { display: flex; flex-wrap: wrap; gap: .2rem .9rem; max-height: 6rem; overflow-y: auto; padding: .3rem 0 0 1rem; }
#scroller { flex: 1; min-height: 0; overflow-y: auto; padding: 1rem; }
#empty, #none { max-width: 28rem; margin: 12vh auto 0; color: var(--quiet); text-align: center; text-wrap: balance; }
.log { display: flex; flex-direction: column; gap: .35rem; }
.log li {
  display: flex; flex-direction: column; align-self: flex-start; max-width: min(85%, 44rem); border-radius: .9rem;
  border-bottom-left-radius: .25rem; background: var(--bubble); padding: .45rem .8rem; overflow-wrap: anywhere;
}
.log li.mine {
  align-self: flex-end; border-radius: .9rem; border-bottom-right-radius: .25rem; background: var(--accent);
  color: var(--on-accent);
}
.log li.note {
  align-self: center; border-radius: 0; background: none; padding: .25rem; color: var(--quiet); font-size: .85rem;
  text-align: center;
}
.log li.good { color: var(--good); }
.log li.bad { color: var(--bad); }
.data { white-space: pre-wrap; }
code { font: .9em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.by, .tags { font-size: .8rem; font-weight: 400; font-variant-numeric: tabular-nums; }
.log li:not(.mine) :is(.by, .tags), nav .tags { color: var(--quiet); }
.tags:empty { display: none; }
#say { border-top: 1px solid var(--line); background: var(--surface); padding: .75rem 1rem; }
#text { flex: 1; }
.unseen { position: absolute; width: 1px; min-height: 0; height: 1px; overflow: hidden; clip-path: inset(50%); border: 0; padding: 0; }
.noscript { margin: 0; padding: 1rem; text-align: center; }
@media (max-width: 50rem) {
  #connection { width: 100%; margin: 0; }
  #token { flex: 1; width: auto; }
  main { flex-direction: column; }
  nav { flex-flow: row wrap; gap: .5rem 1rem; width: 100%; border-right: 0; border-bottom: 1px solid var(--line); padding: .6rem 1rem; }
  #join { flex: 1 1 15rem; }
  #channels { flex: 1 1 15rem; flex-direction: row; min-width: 0; overflow-x: auto; }
  #channels button { white-space: nowrap; }
}
@media (max-width: 34rem) {
  header { gap: .4rem 1rem; padding: .5rem .75rem; }
  #connection { gap: .4rem; }
  #connection label { position: absolute; clip-path: inset(50%); }
  #connection button { padding: 0 .5rem; font-size: .9rem; }
  #token { flex: 1 1 60%; }
  #disconnect, #cut { flex: 1; }
  nav, #about, #say { padding: .5rem .75rem; }
  #about { gap: .25rem .5rem; }
  #about button { padding: 0 .5rem; font-size: .9rem; }
  #scroller { padding: .75rem; }
  #say { gap: .4rem; }
  #say > select, #send { padding: 0 .5rem; }
}
`
