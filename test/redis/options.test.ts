import { assert, describe, it } from "@effect/vitest"
import { Either, Redacted } from "effect"
import * as RedisOptions from "../../src/redis/RedisOptions.js"

const make = (options: RedisOptions.RedisOptions) => Either.getOrThrow(RedisOptions.make(options))

const wrong = (options: Record<string, unknown>) =>
  Either.match(RedisOptions.make(options), {
    onLeft: ({ message }) => message,
    onRight: () => "accepted"
  })

describe("the options of Redis", () => {
  it("without any it is a server on this machine", () => {
    const { servers, ...rest } = make({})
    assert.deepStrictEqual(servers, {
      _tag: "Shards",
      servers: [{ host: "127.0.0.1", port: 6379, tls: false, username: undefined, password: undefined, database: 0 }]
    })
    assert.deepStrictEqual(rest, {
      tls: {},
      prefix: "hub",
      connectTimeout: 5000,
      commandTimeout: 3000,
      maxPending: 50_000,
      maxPendingUnits: 67_108_864,
      pingInterval: 2000,
      retryInterval: 2000,
      linger: 1000
    })
  })

  it("addresses name all that is needed to connect", () => {
    const { servers } = make({
      urls: ["rediss://ann:p%40ss@[::1]:7000/2", "redis://b"],
      password: "other",
      database: 1
    })
    assert.deepStrictEqual(
      servers._tag === "Shards" && servers.servers.map((server) => ({
        ...server,
        password: server.password === undefined ? undefined : Redacted.value(server.password)
      })),
      [
        { host: "::1", port: 7000, tls: true, username: "ann", password: "p@ss", database: 2 },
        { host: "b", port: 6379, tls: false, username: undefined, password: "other", database: 1 }
      ]
    )
  })

  it("a Sentinel's own password is not the master's", () => {
    const { servers } = make({ sentinel: { name: "m", urls: ["redis://s:26379"] }, password: "p", tls: true })
    assert.deepStrictEqual(servers._tag === "Sentinel" && servers.sentinels[0]?.password, undefined)
    assert.isTrue(servers._tag === "Sentinel" && servers.sentinels[0]?.tls === true && servers.master.tls)
  })

  it("a master is spoken to over TLS if there is anything of TLS", () => {
    const isTls = (tls: RedisOptions.RedisOptions["tls"], ...urls: ReadonlyArray<string>) => {
      const { servers } = make({ sentinel: { name: "m", urls }, tls })
      return servers._tag === "Sentinel" && servers.master.tls
    }
    assert.isTrue(isTls(undefined, "redis://s", "rediss://t"))
    assert.isTrue(isTls({ ca: "x" }, "redis://s"))
    assert.isFalse(isTls(undefined, "redis://s"))
    assert.isFalse(isTls(false, "redis://s"))
  })

  it("what may be a password is not in the error, whatever is wrong with the address", () => {
    for (
      const url of [
        "redis://:secret@x:99999",
        "redis://u:secret%@x",
        "redis://secret%:p@x",
        "redis:u:secret@x",
        "http://:secret@x",
        "redis://u:sec/ret@x",
        "redis://u:1/secret@x",
        "redis://x?password=secret#",
        "secret"
      ]
    ) {
      for (const options of [{ url }, { urls: [url] }, { urls: url }, { cluster: [url] }]) {
        assert.notMatch(wrong(options), /secret|sec|ret@/)
      }
      assert.notMatch(wrong({ sentinel: { name: "m", urls: [url] } }), /secret|sec|ret@/)
      assert.notMatch(wrong({ sentinel: { name: "m", urls: url } }), /secret|sec|ret@/)
    }
  })

  for (
    const [options, message] of [
      [{ url: "http://x" }, /^url: expected an address /],
      [{ url: "redis://u:100%@h" }, /^url: expected % in a user or password to be written as %25/],
      [{ urls: ["redis://100%:p@h"] }, /^urls: expected % in a user/],
      [{ url: "redis://x/first" }, /^url: /],
      [{ urls: [] }, /^urls: expected a list/],
      [{ urls: ["redis://x", "redis://x:6379/0"] }, /^urls: expected each server once/],
      [{ url: "redis://x", cluster: ["redis://y"] }, /^url, cluster: expected only one/],
      [{ cluster: ["redis://y/1"] }, /^database: expected 0, got 1/],
      [{ sentinel: { name: "", urls: ["redis://y"] } }, /^sentinel: expected the name/],
      [{ prefix: "a{b" }, /^prefix: expected text without/],
      [{ prefix: "" }, /^prefix: /],
      [{ commandTimeout: 0 }, /^commandTimeout: expected a duration of at least 1 ms/],
      [{ commandTimeout: "soon" }, /^commandTimeout: /],
      [{ retryInterval: "30 days" }, /^retryInterval: /],
      [{ linger: -1 }, /^linger: /],
      [{ maxPending: 0 }, /^maxPending: expected a whole number, at least 1, got 0/],
      [{ maxPendingUnits: 1.5 }, /^maxPendingUnits: /],
      [{ urll: "redis://x" }, /^urll: expected one of url, urls, /]
    ] as const
  ) it(`${JSON.stringify(options)} is refused`, () => assert.match(wrong(options), message))

  it("linger may be 0", () => assert.strictEqual(make({ linger: 0 }).linger, 0))
})
