/**
 * What a newcomer does with a clone: `npm start`, which builds and serves. Subscribes a peer, sees its publication come
 * back, sends SIGTERM to npm as a supervisor would, and expects that the peer is told and the exit code is 0.
 */
import fs from "node:fs"
import path from "node:path"
import { fileURLToPath } from "node:url"
import { WebSocket } from "ws"
import { freePort, launch, messageTimeout, stop, subscribe, within } from "./hub.mjs"

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..")
const buildTimeout = 180_000

const step = (text) => console.log(`start: ${text}`)

let hub
try {
  // A clone has none.
  fs.rmSync(path.join(root, "dist"), { recursive: true, force: true })
  const port = await freePort()
  step(`npm start -- --port ${port}`)
  // A group of its own: what npm leaves behind can be ended with it.
  hub = launch("npm", ["start", "--", "--port", String(port)], root, port, { detached: true })
  await within(hub.ready, buildTimeout, `the line with http://127.0.0.1:${port}`)

  const channel = "start"
  const data = "hello from a clone"
  const peer = await subscribe(WebSocket, `ws://127.0.0.1:${port}/connection/websocket`, channel)
  await peer.send(3, { publish: { channel, data } })
  await peer.hears("its own publication", ({ push }) => push?.channel === channel && push.pub?.data === data)

  step("SIGTERM to npm")
  await stop(hub)
  const [code] = await within(peer.closed, messageTimeout, "the close of the peer")
  if (code !== 3001) throw new Error(`expected that the peer is closed with 3001, got ${code}`)
  step("ok")
} catch (error) {
  console.error(`start: ${error.message}`)
  if (hub) console.error(`--- output of npm start ---\n${hub.output}`)
  process.exitCode = 1
} finally {
  try {
    if (hub) process.kill(-hub.child.pid, "SIGKILL")
  } catch {
    // All have ended.
  }
}
process.exit()
