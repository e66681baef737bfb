/**
 * What Redis does for a broker, in one step each.
 *
 * A channel has two keys: `m`, its position as `offset:epoch`, and `s`, a stream of its publications whose ids are
 * `offset-0`; and one for each idempotency key, which holds the position that was returned, or nothing. An epoch ends in
 * the name of the server's run: what a server remembers of an earlier run may be old, and offsets would be given twice.
 *
 * @since 1.0.0
 */
import type { History } from "../channels/Broker.js"
import type { Publication, StreamPosition } from "../channels/Publication.js"
import { decodePayload } from "./BrokerWire.js"
import { define, type RedisScript } from "./RedisScripts.js"

/** `s` and `e` are the position; `m` is false if there was none. ARGV: run, candidate for the epoch. */
const position = `
local m = redis.call('GET', KEYS[1])
local s, e = 0, nil
if m then
  local at = string.find(m, ':', 1, true)
  e = string.sub(m, at + 1)
  if string.sub(e, 9) == ARGV[1] then s = tonumber(string.sub(m, 1, at - 1)) else m = false end
end
if not m then
  e = ARGV[2] .. ARGV[1]
  redis.call('DEL', KEYS[2])
end
`

/** The name of the pub/sub channel, which is that of `m` without its kind. */
const channel = "string.sub(KEYS[1], 1, -3)"

const add = (payload: string) =>
  `s = s + 1
redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[3], s .. '-0', 'p', ${payload})`

/** `m` is the new position. */
const keep = `redis.call('PEXPIRE', KEYS[2], ARGV[4])
m = s .. ':' .. e
redis.call('SET', KEYS[1], m, 'PX', ARGV[5])`

const positionOf = (text: string): StreamPosition => {
  const colon = text.indexOf(":")
  return { offset: Number(text.slice(0, colon)), epoch: text.slice(colon + 1) }
}

const decodePosition = (reply: unknown): StreamPosition | undefined => {
  if (typeof reply !== "string") throw new Error("Redis answered with something else than a position")
  return reply === "" ? undefined : positionOf(reply)
}

const scriptsFor = (publishing: "PUBLISH" | "SPUBLISH") => {
  const append = define<StreamPosition | undefined>({
    name: "publish",
    isRunBound: true,
    // KEYS: m, s. ARGV: run, candidate, size, ttl, metaTtl, payload
    lua: `${position}
${add("ARGV[6]")}
${keep}
redis.call('${publishing}', ${channel}, 'p' .. m .. ':' .. ARGV[6])
return m`,
    decode: decodePosition
  })

  const appendAll = define<StreamPosition | undefined>({
    name: "publish",
    isRunBound: true,
    // KEYS: m, s. ARGV: run, candidate, size, ttl, metaTtl, lengths, payload...
    lua: `${position}
local first = s + 1
for i = 7, #ARGV do
  ${add("ARGV[i]")}
end
${keep}
local all = table.concat(ARGV, '', 7)
redis.call('${publishing}', ${channel}, 'b' .. first .. ':' .. e .. ':' .. ARGV[6] .. ';' .. all)
return m`,
    decode: decodePosition
  })

  const appendOnce = define<StreamPosition | undefined>({
    name: "publish",
    isRunBound: true,
    // KEYS: m, s, idempotency key. ARGV: run, candidate, size, ttl, metaTtl, window, payload
    lua: `local done = redis.call('GET', KEYS[3])
if done then return done end
${position}
${add("ARGV[7]")}
${keep}
redis.call('SET', KEYS[3], m, 'PX', ARGV[6])
redis.call('${publishing}', ${channel}, 'p' .. m .. ':' .. ARGV[7])
return m`,
    decode: decodePosition
  })

  const passOnce = define<StreamPosition | undefined>({
    name: "publish",
    // KEYS: idempotency key. ARGV: pub/sub channel, window, message
    lua: `local done = redis.call('GET', KEYS[1])
if done then return done end
redis.call('SET', KEYS[1], '', 'PX', ARGV[2])
redis.call('${publishing}', ARGV[1], ARGV[3])
return ''`,
    decode: decodePosition
  })

  return { append, appendAll, appendOnce, passOnce }
}

/**
 * The scripts that publish, by how it is done.
 *
 * @internal
 */
export const publishScripts = { PUBLISH: scriptsFor("PUBLISH"), SPUBLISH: scriptsFor("SPUBLISH") }

const publicationOf = (entry: unknown): Publication<string> => {
  if (Array.isArray(entry)) {
    const [id, fields] = entry as ReadonlyArray<unknown>
    if (typeof id === "string" && Array.isArray(fields) && typeof fields[1] === "string") {
      return decodePayload(fields[1], 0, Number.parseInt(id, 10))
    }
  }
  throw new Error("Redis answered with something else than publications")
}

/**
 * Reads the position, which it creates if there is none, and publications.
 *
 * @internal
 */
export const history: RedisScript<History> = define({
  name: "history",
  isRunBound: true,
  // KEYS: m, s. ARGV: run, candidate, size, metaTtl, since or '', limit or -1, 1 for reverse
  lua: `${position}
if m then
  redis.call('PEXPIRE', KEYS[1], math.max(redis.call('PTTL', KEYS[2]), tonumber(ARGV[4])))
else
  m = '0:' .. e
  redis.call('SET', KEYS[1], m, 'PX', ARGV[4])
end
local limit = tonumber(ARGV[6])
if s == 0 or limit == 0 then return { m, {} } end
local since = tonumber(ARGV[5])
local low, high = s - tonumber(ARGV[3]) + 1, s
if ARGV[7] == '1' then
  if since then high = math.min(s, since - 1) end
elseif since then
  low = math.max(low, since + 1)
end
if low < 1 then low = 1 end
if low > high then return { m, {} } end
if limit < 0 or limit > high - low + 1 then limit = high - low + 1 end
if ARGV[7] == '1' then
  return { m, redis.call('XREVRANGE', KEYS[2], high .. '-0', low .. '-0', 'COUNT', limit) }
end
return { m, redis.call('XRANGE', KEYS[2], low .. '-0', high .. '-0', 'COUNT', limit) }`,
  decode: (reply) => {
    if (Array.isArray(reply)) {
      const [at, entries] = reply as ReadonlyArray<unknown>
      if (typeof at === "string" && Array.isArray(entries)) {
        return { publications: entries.map(publicationOf), position: positionOf(at) }
      }
    }
    throw new Error("Redis answered with something else than history")
  }
})

/**
 * Removes the publications; the position stays.
 *
 * @internal
 */
export const remove: RedisScript<void> = define({
  name: "remove history",
  lua: "return redis.call('UNLINK', KEYS[1])",
  decode: () => undefined
})
