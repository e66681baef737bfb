/**
 * What a stranger does with the package: packs it, installs the tarball in an empty folder, starts the command, finds
 * the SDK in its page, subscribes two peers to one channel, sees a publication reach both and the package's own client,
 * stops it with SIGTERM, and expects exit code 0.
 *
 * Needs a build (`npm run smoke` makes one).
 */
import { execFileSync } from "node:child_process"
import fs from "node:fs"
import { createRequire } from "node:module"
import os from "node:os"
import path from "node:path"
import { fileURLToPath } from "node:url"
import { freePort, launch, messageTimeout, startTimeout, stop, subscribe, within } from "./hub.mjs"

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..")
const name = "effect-ws-hub"

const step = (text) => console.log(`smoke: ${text}`)

const npm = (args, cwd) => {
  try {
    return execFileSync("npm", args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] })
  } catch (error) {
    throw new Error(`npm ${args.join(" ")} failed:\n${error.stdout}${error.stderr}`)
  }
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
  hub = launch(path.join(app, "node_modules/.bin", name), ["--port", String(port)], app, port)
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
  await stop(hub)
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
