/**
 * The servers under test: how each is started and stopped, which version it is, and why one cannot run here.
 */
import { spawn } from "node:child_process"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const here = fileURLToPath(new URL(".", import.meta.url))
const modules = join(here, "node_modules")
const project = join(here, "..", "node_modules")

const versionOf = (folder) => {
  try {
    return JSON.parse(readFileSync(join(folder, "package.json"), "utf8")).version
  } catch {
    return undefined
  }
}

/** Install scripts may be off, so the binary is taken from the package of this platform. */
const bunBinary = () => {
  const scope = join(modules, "@oven")
  if (!existsSync(scope)) return undefined
  const names = readdirSync(scope).filter((name) => name.startsWith(`bun-${process.platform}-`))
  return names.map((name) => join(scope, name, "bin", "bun")).find((file) => existsSync(file))
}

const node = (script) => ({
  command: (hook) => [process.execPath, ...(hook ? ["--expose-gc", "--require", join(here, "gc-hook.cjs")] : [])],
  script
})

const needsIn = (folder, where) => (...names) => () => {
  const missing = names.filter((name) => !existsSync(join(folder, name)))
  return missing.length ? `${missing.join(", ")} not installed: run npm ci in ${where}` : undefined
}
const needs = needsIn(modules, "bench")
const needsOfProject = needsIn(project, "the project")

const definitions = [
  {
    name: "raw-ws",
    label: "raw ws loop",
    ...node("peers/raw-ws.mjs"),
    version: () => `ws ${versionOf(join(modules, "ws"))}`,
    unavailable: needs("ws")
  },
  {
    name: "effect-ws-hub",
    label: "effect-ws-hub",
    ...node("target.mjs"),
    channels: "/connection/websocket",
    redis: { script: "redis-target.mjs", args: [] },
    version: () => `effect-ws-hub ${versionOf(join(here, ".."))}`,
    unavailable: () => {
      if (!existsSync(join(here, "target.mjs"))) return "target.mjs is missing"
      if (!existsSync(join(here, "..", "dist"))) return "not built: run npm run build in the project"
    }
  },
  {
    name: "bun",
    label: "Bun, native publish",
    command: (hook) => [bunBinary(), ...(hook ? ["--preload", join(here, "gc-hook.cjs")] : [])],
    script: "peers/bun.mjs",
    version: () => `bun ${versionOf(join(modules, "bun"))}`,
    unavailable: () => (bunBinary() ? undefined : `no Bun binary for ${process.platform}-${process.arch} installed`)
  },
  {
    name: "socket-io",
    label: "socket.io",
    ...node("peers/socket-io.mjs"),
    version: () => `socket.io ${versionOf(join(modules, "socket.io"))}`,
    unavailable: needs("socket.io"),
    socketIo: true
  },
  {
    name: "socket-io-redis",
    label: "socket.io, redis-adapter",
    ...node("peers/socket-io-redis.mjs"),
    version: () => `@socket.io/redis-adapter ${versionOf(join(modules, "@socket.io/redis-adapter"))}`,
    unavailable: needs("socket.io", "@socket.io/redis-adapter", "redis"),
    socketIo: true,
    onlyWithRedis: true,
    redis: { script: "peers/socket-io-redis.mjs", args: ["pubsub"] }
  },
  {
    name: "socket-io-streams",
    label: "socket.io, redis-streams-adapter",
    ...node("peers/socket-io-redis.mjs"),
    version: () => `@socket.io/redis-streams-adapter ${versionOf(join(modules, "@socket.io/redis-streams-adapter"))}`,
    unavailable: needs("socket.io", "@socket.io/redis-streams-adapter", "redis"),
    socketIo: true,
    onlyWithRedis: true,
    redis: { script: "peers/socket-io-redis.mjs", args: ["streams"] }
  },
  {
    name: "naive-effect",
    label: "Effect, Queue per connection",
    ...node("peers/naive-effect.mjs"),
    version: () => `effect ${versionOf(join(project, "effect"))}`,
    unavailable: () => needsOfProject("effect")() ?? needs("ws")()
  },
  {
    name: "platform-upgrade",
    label: "Effect, the platform's upgrade",
    ...node("peers/platform-upgrade.mjs"),
    version: () => `@effect/platform-node ${versionOf(join(project, "@effect/platform-node"))}`,
    unavailable: needsOfProject("effect", "@effect/platform", "@effect/platform-node"),
    onlyIfNamed: true
  }
]

export const servers = new Map(definitions.map((server) => [server.name, server]))

const running = new Set()
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL")
})

const freePort = () =>
  new Promise((resolve, reject) => {
    const probe = createServer()
    probe.on("error", reject)
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address()
      probe.close(() => resolve(port))
    })
  })

/** Starts a server and waits until it prints `ready`. */
export const start = async (server, { pin, hook = false }) => {
  const port = await freePort()
  return launched([...pin, ...server.command(hook), join(here, server.script), String(port)], port)
}

/** Starts two nodes of a server and the Redis between them: all that serves the load, on the same core. */
export const startNodes = async (server, { pin }) => {
  const port = await freePort()
  const redis = launched(
    [...pin, "redis-server", "--port", String(port), "--bind", "127.0.0.1", "--save", ""],
    port,
    /Ready to accept/
  )
  const { args, script } = server.redis
  const started = [await redis]
  try {
    for (let node = 0; node < 2; node++) {
      const own = await freePort()
      const command = [...server.command(false), join(here, script), String(own), `redis://127.0.0.1:${port}`, ...args]
      started.push(await launched([...pin, ...command], own))
    }
  } catch (error) {
    await Promise.all(started.map(({ stop }) => stop()))
    throw error
  }
  return {
    redis: `redis://127.0.0.1:${port}`,
    port: started.slice(1).map((node) => node.port).join(","),
    pid: started.map(({ pid }) => pid).join(","),
    stop: async () => {
      for (const { stop } of started.reverse()) await stop()
    }
  }
}

const launched = async ([file, ...args], port, ready = /^ready$/) => {
  const child = spawn(file, args, { stdio: ["ignore", "pipe", "pipe"] })
  running.add(child)
  const exited = new Promise((resolve) => {
    child.once("error", (error) => resolve(error.message))
    child.once("exit", (code, signal) => resolve(signal ?? code))
  })
  exited.then(() => running.delete(child))
  let errors = ""
  child.stderr.on("data", (data) => {
    errors = (errors + data).slice(-2000)
  })
  const waiting = new Map()
  let rest = ""
  child.stdout.on("data", (data) => {
    const lines = (rest + data).split("\n")
    rest = lines.pop()
    for (const line of lines) for (const [pattern, found] of waiting) if (pattern.test(line.trim())) found()
  })
  const line = (pattern, seconds) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no line ${pattern} within ${seconds} s`)), seconds * 1000)
      waiting.set(pattern, () => resolve(clearTimeout(timer)))
      exited.then((how) => {
        clearTimeout(timer)
        reject(new Error(`exited (${how}) before ${pattern}: ${errors.trim().split("\n").slice(-6).join(" | ")}`))
      })
    })
  const stop = async () => {
    child.kill("SIGTERM")
    const timer = setTimeout(() => child.kill("SIGKILL"), 1500)
    await exited
    clearTimeout(timer)
  }
  const memory = (field) => {
    const status = readFileSync(`/proc/${child.pid}/status`, "utf8")
    return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(status)[1])
  }
  try {
    await line(ready, 20)
  } catch (error) {
    await stop()
    throw error
  }
  return {
    port,
    pid: child.pid,
    stop,
    /** Resident memory in KB, now or at its peak. */
    resident: () => memory("VmRSS"),
    peak: () => memory("VmHWM"),
    collect: async () => {
      const collected = line(/^gc$/, 30)
      child.kill("SIGUSR2")
      await collected
    }
  }
}
