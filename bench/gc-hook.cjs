/**
 * Preloaded into a server whose memory is measured: on SIGUSR2 it collects garbage and prints `gc`. Node needs
 * --expose-gc; Bun has its own.
 */
const collect = () => (globalThis.Bun ? globalThis.Bun.gc(true) : globalThis.gc())

process.on("SIGUSR2", () => {
  collect()
  setTimeout(() => {
    collect()
    console.log("gc")
  }, 300)
})
