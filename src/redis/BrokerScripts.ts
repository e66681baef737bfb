/**
 * What Redis does for a broker, in one step each.
 *
 * The keys of a channel: `m`, its position as `offset:epoch`; `s`, a list of its newest publications, of which the last
 * one has that offset (a stream of Redis costs several times as much); `v`, if there was one, the last version as `epoch of
 * the stream, number, epoch of versions`; and one for each idempotency key, with the position that was returned, or nothing. An epoch ends in the name of the server's run: what a server
 * remembers of an earlier run may be old, and offsets would be given twice.
 *
 * @since 1.0.0
 */
import type { History } from "../channels/Broker.js"
import type { StreamPosition } from "../channels/Publication.js"
import { decodePayload, separator } from "./BrokerWire.js"
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

/**
 * Milliseconds that the position is kept of what was read and never published to: whoever may subscribe to channels of any
 * name could fill Redis. Who is subscribed reads more often; who was away longer is not told that nothing was missed.
 */
const unusedTtl = 3_600_000

/** The name of the pub/sub channel, which is that of `m` without its kind. */
const channel = "string.sub(KEYS[1], 1, -3)"

/** Of the position `s`, which becomes `m`. */
const keep = `redis.call('LTRIM', KEYS[2], -ARGV[3], -1)
redis.call('PEXPIRE', KEYS[2], ARGV[4])
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
    // KEYS: m, s. ARGV: run, candidate, size, ttl, metaTtl, payloads
    lua: `${position}
local all, n, from = {}, 0, 1
repeat
  local at = string.find(ARGV[6], '${separator}', from, true)
  n = n + 1
  all[n] = string.sub(ARGV[6], from, (at or 0) - 1)
  from = at and at + 1
until not from
redis.call('RPUSH', KEYS[2], unpack(all))
s = s + n
${keep}
redis.call('${publishing}', ${channel}, 'p' .. (s - n + 1) .. ':' .. e .. ':' .. ARGV[6])
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
redis.call('RPUSH', KEYS[2], ARGV[7])
s = s + 1
${keep}
redis.call('SET', KEYS[3], m, 'PX', ARGV[6])
redis.call('${publishing}', ${channel}, 'p' .. m .. ':' .. ARGV[7])
return m`,
    decode: decodePosition
  })

  const appendVersion = define<StreamPosition | undefined>({
    name: "publish",
    isRunBound: true,
    // KEYS: m, s, v, idempotency key if there is one. ARGV: run, candidate, size, ttl, metaTtl, window, payload, number, epoch
    lua: `local done = KEYS[4] and redis.call('GET', KEYS[4])
if done then return done end
${position}
local known = m and redis.call('GET', KEYS[3])
if known then
  local of, number, epoch = string.match(known, '^(%S+) (%d+) (.*)$')
  if of == e and (ARGV[9] == '' or ARGV[9] == epoch) and tonumber(ARGV[8]) <= tonumber(number) then
    redis.call('PEXPIRE', KEYS[1], ARGV[5])
    redis.call('PEXPIRE', KEYS[3], ARGV[5])
    if KEYS[4] then redis.call('SET', KEYS[4], m, 'PX', ARGV[6]) end
    return m
  end
end
redis.call('RPUSH', KEYS[2], ARGV[7])
s = s + 1
${keep}
redis.call('SET', KEYS[3], e .. ' ' .. ARGV[8] .. ' ' .. ARGV[9], 'PX', ARGV[5])
if KEYS[4] then redis.call('SET', KEYS[4], m, 'PX', ARGV[6]) end
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

  return { append, appendOnce, appendVersion, passOnce }
}

/**
 * The scripts that publish, by how it is done.
 *
 * @internal
 */
export const publishScripts = { PUBLISH: scriptsFor("PUBLISH"), SPUBLISH: scriptsFor("SPUBLISH") }

/**
 * Reads the position, which it creates if there is none, and publications, oldest first.
 *
 * @internal
 */
export const history: RedisScript<History> = define({
  name: "history",
  isRunBound: true,
  // KEYS: m, s. ARGV: run, candidate, size, metaTtl, since or '', limit or -1, 1 for reverse
  lua: `${position}
local life = math.max(redis.call('PTTL', KEYS[2]), tonumber(ARGV[4]))
if s == 0 then life = math.min(life, ${unusedTtl}) end
if m then
  redis.call('PEXPIRE', KEYS[1], life)
else
  m = '0:' .. e
  redis.call('SET', KEYS[1], m, 'PX', life)
end
local limit = tonumber(ARGV[6])
local length = limit ~= 0 and redis.call('LLEN', KEYS[2]) or 0
if length == 0 then return { m, 0, {} } end
local since = tonumber(ARGV[5])
local first = s - length + 1
local low, high = math.max(first, s - tonumber(ARGV[3]) + 1), s
if ARGV[7] == '1' then
  if since then high = math.min(s, since - 1) end
  if limit > 0 then low = math.max(low, high - limit + 1) end
else
  if since then low = math.max(low, since + 1) end
  if limit > 0 then high = math.min(high, low + limit - 1) end
end
if low > high then return { m, 0, {} } end
return { m, low, redis.call('LRANGE', KEYS[2], low - first, high - first) }`,
  decode: (reply) => {
    if (Array.isArray(reply)) {
      const [at, low, payloads] = reply as ReadonlyArray<unknown>
      if (typeof at === "string" && typeof low === "number" && Array.isArray(payloads)) {
        return {
          publications: payloads.map((payload, index) => decodePayload(String(payload), 0, low + index)),
          position: positionOf(at)
        }
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
