/**
 * What the runs of the finished program share: it is started as a process, and peers speak to it.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { createServer } from "node:net"

export const startTimeout = 30_000
export const messageTimeout = 5_000
export const stopTimeout = 15_000

export const within = (promise, ms, what) => {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing within ${ms / 1000} s`)), ms)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

export const freePort = async () => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address()
  server.close()
  await once(server, "close")
  return port
}

/** Runs a command that serves at this port; `ready` when it has said so. */
export const launch = (command, args, cwd, port, options = {}) => {
  const child = spawn(command, args, { cwd, stdio: ["ignore", "pipe", "pipe"], ...options })
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
export const subscribe = async (WebSocket, url, channel) => {
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

/** Sends SIGTERM, and fails unless it ends with exit code 0. */
export const stop = async ({ child, closed }) => {
  child.kill("SIGTERM")
  const [code, signal] = await within(closed, stopTimeout, "exit after SIGTERM")
  if (code !== 0) throw new Error(`expected exit code 0 after SIGTERM, got ${signal ?? code}`)
}
