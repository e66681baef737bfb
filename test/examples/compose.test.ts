/** The files of `examples/compose` fit together, as far as can be seen without Docker. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Redacted from "effect/Redacted"
import { existsSync, readFileSync } from "node:fs"
import { parse } from "yaml"
import * as ChannelsConfig from "../../src/channels/ChannelsConfig.js"
import { parseYaml } from "../../src/server/ConfigFile.js"
import { load } from "../../src/server/ServerConfig.js"

const root = new URL("../../", import.meta.url)

const read = (name: string): string => readFileSync(new URL(`examples/compose/${name}`, root), "utf8")

interface Service {
  readonly image?: string
  readonly build?: { readonly context: string; readonly dockerfile: string }
  readonly command?: ReadonlyArray<string>
  readonly environment?: Readonly<Record<string, string>>
  readonly volumes?: ReadonlyArray<string>
  readonly depends_on?: ReadonlyArray<string>
  readonly ports?: ReadonlyArray<string>
  readonly restart: string
}

const { services }: { readonly services: Readonly<Record<string, Service>> } = parse(read("compose.yaml"), {
  merge: true
})

const service = (name: string): Service => services[name] ?? assert.fail(`there is no service ${name}`)

const nodes = ["hub-1", "hub-2"]

/** A variable that must be given, in the words of Compose. */
const required = /^\$\{(\w+):\?.+\}$/

/** The sections of the balancer's configuration, by their first line. */
const sections = (text: string): ReadonlyMap<string, ReadonlyArray<string>> => {
  const found = new Map<string, Array<string>>()
  let lines: Array<string> = []
  for (const line of text.split("\n").filter((line) => line.trim() !== "" && !line.trim().startsWith("#"))) {
    if (line.startsWith(" ")) lines.push(line.trim())
    else found.set(line, lines = [])
  }
  return found
}

const section = (name: string): ReadonlyArray<string> =>
  sections(read("haproxy.cfg")).get(name) ?? assert.fail(`haproxy.cfg has no ${name}`)

/** What stands after these words, in all lines that begin with them. */
const after = (lines: ReadonlyArray<string>, words: string): ReadonlyArray<string> =>
  lines.filter((line) => line.startsWith(`${words} `)).map((line) => line.slice(words.length + 1))

/** The program's own reading of the configuration, with the secrets that Compose asks for. */
const config = load(
  new Map(),
  { HUB_CLIENT_TOKEN_HMAC_SECRET: "a secret of at least 32 characters", HUB_API_KEYS: "a key" },
  parseYaml("hub.yaml", read("hub.yaml"))
)

describe("the Compose file", () => {
  it("has two nodes, Redis and a balancer, which start again, and all that they refer to", () => {
    assert.sameMembers(Object.keys(services), [...nodes, "redis", "balancer"])
    for (const { build, depends_on = [], image, restart, volumes = [] } of Object.values(services)) {
      assert.strictEqual(restart, "unless-stopped")
      if (build === undefined) assert.match(image ?? "", /^[a-z]+:[\w.-]+$/)
      else {
        assert.strictEqual(new URL(build.context + "/", new URL("examples/compose/", root)).href, root.href)
        assert.isTrue(existsSync(new URL(build.dockerfile, root)), build.dockerfile)
      }
      for (const name of depends_on) service(name)
      for (const volume of volumes) read(volume.split(":")[0] ?? "")
    }
    assert.deepStrictEqual(service("hub-1"), service("hub-2"))
  })

  it("its nodes run what is built, and read the file that is mounted", () => {
    const lines = read("Dockerfile").split("\n")
    const command: ReadonlyArray<string> = JSON.parse(after(lines, "CMD")[0] ?? "")
    const { scripts }: { scripts: Record<string, string> } = JSON.parse(
      readFileSync(new URL("package.json", root), "utf8")
    )
    assert.isDefined(scripts["build"])
    assert.deepStrictEqual(command.slice(0, 1), ["node"])
    const source = command[1]?.replace(/^dist\//, "src/").replace(/\.js$/, ".ts") ?? ""
    assert.isTrue(existsSync(new URL(source, root)), source)
    assert.deepStrictEqual(command.slice(2), ["--config", "/hub.yaml"])
    assert.include(service("hub-1").volumes ?? [], "./hub.yaml:/hub.yaml:ro")
  })

  it("says to Redis what docs/scaling.md asks for", () => {
    assert.match(service("redis").command?.join(" ") ?? "", /^redis-server .*--maxmemory-policy noeviction/)
  })
})

describe("the configuration of the nodes", () => {
  it.effect("is what the program takes, with the secrets that must be given", () =>
    Effect.gen(function*() {
      const { broker, host } = yield* config
      assert.strictEqual(broker.type, "redis")
      assert.deepStrictEqual(broker.url && Redacted.value(broker.url), "redis://redis:6379")
      service("redis")
      // Another service cannot reach loopback.
      assert.strictEqual(host, "0.0.0.0")
      for (const name of nodes) {
        const variables = Object.entries(service(name).environment ?? {})
        assert.deepStrictEqual(variables.map(([name, value]) => [name, required.exec(value)?.[1]]), [
          ["HUB_CLIENT_TOKEN_HMAC_SECRET", "HUB_CLIENT_TOKEN_HMAC_SECRET"],
          ["HUB_API_KEYS", "HUB_API_KEYS"]
        ])
      }
    }))
})

describe("the balancer", () => {
  it.effect("leads to both nodes at their port, asks whether they are ready, and is reached from outside", () =>
    Effect.gen(function*() {
      const { port } = yield* config
      const [bind] = after(section("frontend clients"), "bind")
      assert.deepStrictEqual(service("balancer").ports, [`${bind?.slice(1)}${bind}`])
      const [name] = after(section("frontend clients"), "default_backend")
      const backend = section(`backend ${name}`)
      assert.deepStrictEqual(
        after(backend, "server").map((server) => server.split(" ")),
        nodes.map((node) => [node, `${node}:${port}`])
      )
      assert.deepStrictEqual(after(backend, "option httpchk"), ["GET /ready"])
      assert.match(after(backend, "default-server")[0] ?? "", /^check /)
      assert.includeMembers([...service("balancer").depends_on ?? []], nodes)
    }))

  it("keeps a socket that is silent from one ping to the next", () => {
    const [, minutes] = /^(\d+)m$/.exec(after(section("defaults"), "timeout tunnel")[0] ?? "") ?? []
    const { pingInterval, pongTimeout } = Either.getOrThrow(ChannelsConfig.make({}))
    assert.isAbove(Number(minutes) * 60_000, pingInterval + pongTimeout)
  })
})
