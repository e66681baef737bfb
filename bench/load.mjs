/**
 * Compiles the load client and runs it.
 */
import { execFileSync, spawn } from "node:child_process"
import { existsSync, mkdirSync, statSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const here = fileURLToPath(new URL(".", import.meta.url))
const source = join(here, "load.c")
const binary = join(here, ".build", "load")

const works = (file, ...args) => {
  try {
    execFileSync(file, args, { stdio: "ignore" })
    return true
  } catch {
    return false
  }
}

/** Compiles `load.c` unless that was done. Throws with a sentence for the user. */
export const compile = () => {
  if (process.platform !== "linux") throw new Error("the benchmark needs Linux: /proc and epoll")
  if (existsSync(binary) && statSync(binary).mtimeMs > statSync(source).mtimeMs) return
  const compiler = [process.env.CC, "cc", "gcc", "clang"].find((name) => name && works(name, "--version"))
  if (!compiler) {
    throw new Error("the load client is written in C and no compiler was found: install gcc or clang, or set CC")
  }
  mkdirSync(join(here, ".build"), { recursive: true })
  execFileSync(compiler, ["-O2", "-o", binary, source], { stdio: "inherit" })
}

const running = new Set()
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL")
})

/** Starts the client; `event` resolves at its first line, `result` at its last one. */
export const launch = (mode, options, { pin, seconds = 120 }) => {
  const flag = ([name, value]) => (value === true ? [`--${name}`] : [`--${name}`, value])
  const args = Object.entries(options).flatMap(flag)
  const [file, ...rest] = [...pin, binary, mode, ...args.map(String)]
  const child = spawn(file, rest, { stdio: ["pipe", "pipe", "pipe"] })
  running.add(child)
  child.stdin.on("error", () => {})
  const timer = setTimeout(() => child.kill("SIGKILL"), seconds * 1000)
  let output = ""
  let errors = ""
  let first
  const event = new Promise((resolve) => {
    first = resolve
  })
  child.stdout.on("data", (data) => {
    output += data
    if (output.includes("\n")) first()
  })
  child.stderr.on("data", (data) => {
    errors += data
  })
  const result = new Promise((resolve, reject) => {
    child.once("error", reject)
    child.once("close", (code, signal) => {
      clearTimeout(timer)
      running.delete(child)
      first()
      const last = output.trim().split("\n").at(-1)
      if (!last) {
        const ended = signal ? `was ended by ${signal}, at most ${seconds} s after its start` : `exited with ${code}`
        return reject(new Error(errors.trim() || `the load client ${ended}`))
      }
      const parsed = JSON.parse(last)
      if (parsed.error) reject(new Error(parsed.error))
      else resolve(parsed)
    })
  })
  result.catch(() => {})
  return { event, result, release: () => child.stdin.end() }
}

/** Runs the client to its end. */
export const load = (mode, options, how) => launch(mode, options, how).result
