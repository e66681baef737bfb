/**
 * The page's style sheet.
 */
export const style = `
:root {
  --ground: #f6f6f9; --surface: #fff; --ink: #1c1c28; --quiet: #5b5b6e; --line: #dcdce6; --accent: #4f46e5;
  --on-accent: #fff; --bubble: #e7e7f0; --good: #0f8a4c; --wait: #b45309;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #131318; --surface: #1c1c24; --ink: #ececf4; --quiet: #a3a3b8; --line: #33333f; --accent: #a5a0ff;
    --on-accent: #16142e; --bubble: #2a2a36; --good: #4ade80; --wait: #fbbf24;
  }
}
* { box-sizing: border-box; }
body {
  display: flex; flex-direction: column; height: 100vh; height: 100dvh; margin: 0; background: var(--ground);
  color: var(--ink); font: 16px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
header, footer { background: var(--surface); padding: .75rem max(1rem, calc(50vw - 24rem)); }
header { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem 1.25rem; border-bottom: 1px solid var(--line); }
footer { border-top: 1px solid var(--line); }
h1 { margin: 0; font-size: 1.05rem; font-weight: 650; letter-spacing: -.01em; }
form { display: flex; align-items: center; gap: .5rem; }
#room-form label { color: var(--quiet); font-size: .9rem; }
#room { width: 10rem; }
#state { display: flex; align-items: center; gap: .45rem; margin: 0 0 0 auto; color: var(--quiet); font-size: .9rem; }
#count:not(:empty) {
  border-radius: 1rem; background: var(--bubble); padding: .1rem .6rem; color: var(--ink);
  font-variant-numeric: tabular-nums;
}
.dot { width: .6rem; height: .6rem; border-radius: 50%; background: var(--wait); }
[data-state=open] .dot { background: var(--good); }
input, button, .button {
  min-height: 2.4rem; border: 1px solid var(--line); border-radius: .55rem; padding: 0 .75rem; background: var(--ground);
  color: inherit; font: inherit;
}
input::placeholder { color: var(--quiet); opacity: 1; }
input:user-invalid { border-color: var(--wait); }
button, .button { display: inline-flex; align-items: center; font-weight: 550; cursor: pointer; }
button:hover:enabled, .button:hover { border-color: var(--quiet); }
#send { border-color: transparent; background: var(--accent); color: var(--on-accent); }
#send:hover:enabled { filter: brightness(1.08); }
:disabled, [aria-disabled=true] { opacity: .55; cursor: default; }
:focus-visible, #file:focus-visible + .button { outline: 2px solid var(--accent); outline-offset: 2px; }
#say { width: 100%; }
#text { flex: 1; min-width: 0; }
main { flex: 1; min-height: 0; }
#scroller { height: 100%; overflow-y: auto; padding: 1rem max(1rem, calc(50vw - 24rem)); }
#empty { max-width: 26rem; margin: 20vh auto 0; color: var(--quiet); text-align: center; text-wrap: balance; }
#log { display: flex; flex-direction: column; gap: .35rem; margin: 0; padding: 0; list-style: none; }
#log li {
  align-self: flex-start; max-width: 85%; border-radius: .9rem; border-bottom-left-radius: .25rem; background: var(--bubble);
  padding: .45rem .8rem; overflow-wrap: anywhere; white-space: pre-wrap;
}
#log li.mine {
  align-self: flex-end; border-radius: .9rem; border-bottom-right-radius: .25rem; background: var(--accent);
  color: var(--on-accent);
}
#log li.note {
  align-self: center; border-radius: 0; background: none; padding: .25rem; color: var(--quiet); font-size: .85rem;
  text-align: center;
}
#log code { display: block; color: var(--quiet); font: .85em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
#log a { color: inherit; }
.unseen { position: absolute; width: 1px; min-height: 0; height: 1px; overflow: hidden; clip-path: inset(50%); border: 0; padding: 0; }
.noscript { margin: 0; padding: 1rem; text-align: center; }
@media (max-width: 34rem) {
  #state { width: 100%; margin: 0; }
  #room-form { flex: 1; }
  #room { flex: 1; min-width: 0; width: auto; }
}
`
