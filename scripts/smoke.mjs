/**
 * What a stranger does with the package: packs it, installs the tarball in an empty folder, starts the command, finds
 * the SDK in its page, subscribes two peers to one channel, sees a publication reach both and the package's own client,
 * stops it with SIGTERM, and expects exit code 0.
 *
 * Needs a build (`npm run smoke` makes one).
 */
import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import fs from "node:fs"
import { createRequire } from "node:module"
import { createServer } from "node:net"
import os from "node:os"
import path from "node:path"
import { fileURLToPath } from "node:url"

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..")
const name = "effect-ws-hub"
const startTimeout = 30_000
const messageTimeout = 5_000
const stopTimeout = 15_000

const step = (text) => console.log(`smoke: ${text}`)

const within = (promise, ms, what) => {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing within ${ms / 1000} s`)), ms)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

const freePort = async () => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address()
  server.close()
  await once(server, "close")
  return port
}

const npm = (args, cwd) => {
  try {
    return execFileSync("npm", args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] })
  } catch (error) {
    throw new Error(`npm ${args.join(" ")} failed:\n${error.stdout}${error.stderr}`)
  }
}

const start = (folder, port) => {
  const child = spawn(path.join(folder, "node_modules/.bin", name), ["--port", String(port)], {
    cwd: folder,
    stdio: ["ignore", "pipe", "pipe"]
  })
  const hub = { child, output: "", closed: once(child, "close") }
  hub.closed.catch(() => {})
  hub.ready = new Promise((resolve, reject) => {
    const onData = (data) => {
      hub.output += data
      if (hub.output.includes(`http://127.0.0.1:${port}`)) resolve()
    }
    child.stdout.on("data", onData)
    child.stderr.on("data", onData)
    child.once("error", reject)
    child.once("close", (code, signal) => reject(new Error(`the command ended with ${signal ?? `exit code ${code}`}`)))
  })
  hub.ready.catch(() => {})
  return hub
}

/** A client of the protocol, subscribed to a channel. A frame is one or more documents, a line each. */
const subscribe = async (WebSocket, url, channel) => {
  const ws = new WebSocket(url)
  const heard = []
  ws.on("message", (data) => heard.push(...data.toString().split("\n").map((line) => JSON.parse(line))))
  await within(once(ws, "open"), messageTimeout, `connecting to ${url}`)
  const hears = async (what, wanted) => {
    const waiting = async () => {
      while (!heard.some(wanted)) await once(ws, "message")
      return heard.find(wanted)
    }
    return within(waiting(), messageTimeout, what)
  }
  const send = async (id, command) => {
    ws.send(JSON.stringify({ ...command, id }))
    const { error } = await hears(`the reply to ${JSON.stringify(command)}`, (document) => document.id === id)
    if (error) throw new Error(`${JSON.stringify(command)} was refused: ${error.message} (${error.code})`)
  }
  await send(1, { connect: {} })
  await send(2, { subscribe: { channel } })
  return { hears, send, closed: once(ws, "close") }
}

/** What an application does with `effect-ws-hub/client`: hears its own publication. */
const clientScript = `
import { Effect, Stream } from "effect"
import { Client } from "effect-ws-hub/client"
import { WebSocket } from "ws"

const [url, channel] = process.argv.slice(2)
const program = Effect.gen(function*() {
  const client = yield* Client.Client
  const subscription = yield* client.subscribe(channel)
  yield* subscription.publish("hello from the client")
  yield* Stream.runForEach(Stream.take(subscription.publications, 1), ({ data }) => Effect.sync(() => console.log(data)))
})
await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(Client.layer({ url, websocket: WebSocket }))))
`

const folder = fs.mkdtempSync(path.join(os.tmpdir(), `${name}-smoke-`))
let hub
try {
  step("npm pack")
  const [pack] = JSON.parse(npm(["pack", "--json", "--ignore-scripts", "--pack-destination", folder], root))
  const app = path.join(folder, "app")
  fs.mkdirSync(app)
  fs.writeFileSync(path.join(app, "package.json"), JSON.stringify({ name: "app", private: true, type: "module" }))
  step(`npm install ${pack.filename} in an empty folder`)
  npm(["install", "--no-audit", "--no-fund", path.join(folder, pack.filename)], app)
  const { devDependencies } = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8"))
  if (fs.existsSync(path.join(app, "node_modules/centrifuge"))) throw new Error("the SDK came without being asked for")

  const installed = path.join(app, "node_modules", name)
  const { WebSocket } = createRequire(path.join(installed, "package.json"))("ws")
  const port = await freePort()
  step(`${name} --port ${port}`)
  hub = start(app, port)
  await within(hub.ready, startTimeout, `the line with http://127.0.0.1:${port}`)

  const page = await (await fetch(`http://127.0.0.1:${port}/`)).text()
  if (!page.includes("globalThis.Centrifuge=")) throw new Error("the SDK is not in the page")

  const url = `ws://127.0.0.1:${port}/connection/websocket`
  const channel = "smoke"
  step(`two peers in the channel ${channel} at ${url}`)
  const [ada, bob] = [await subscribe(WebSocket, url, channel), await subscribe(WebSocket, url, channel)]
  const data = "hello from the smoke run"
  await ada.send(3, { publish: { channel, data } })
  for (const [name, peer] of Object.entries({ ada, bob })) {
    await peer.hears(`the publication at ${name}`, ({ push }) => push?.channel === channel && push.pub?.data === data)
  }

  step("the client, with the SDK beside it")
  npm(["install", "--no-audit", "--no-fund", `centrifuge@${devDependencies.centrifuge}`], app)
  fs.writeFileSync(path.join(app, "client.mjs"), clientScript)
  const heard = execFileSync(process.execPath, ["client.mjs", url, `${channel}-client`], {
    cwd: app,
    encoding: "utf8",
    timeout: messageTimeout
  })
  if (heard !== "hello from the client\n") throw new Error(`the client heard ${JSON.stringify(heard)}`)

  step("SIGTERM")
  hub.child.kill("SIGTERM")
  const [code, signal] = await within(hub.closed, stopTimeout, "exit after SIGTERM")
  if (code !== 0) throw new Error(`expected exit code 0 after SIGTERM, got ${signal ?? code}`)
  const codes = await within(Promise.all([ada.closed, bob.closed]), messageTimeout, "the close of both peers")
  step(`ok (peers closed with ${codes.map(([code]) => code).join(" and ")})`)
} catch (error) {
  console.error(`smoke: ${error.message}`)
  if (hub) console.error(`--- output of ${name} ---\n${hub.output}`)
  process.exitCode = 1
} finally {
  hub?.child.kill("SIGKILL")
  fs.rmSync(folder, { recursive: true, force: true })
}
// Peers of a hub that failed may still be open.
process.exit()
