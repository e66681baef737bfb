/**
 * How names begin, and which slot of a Cluster they are in.
 *
 * @since 1.0.0
 */
import { Buffer } from "node:buffer"

/** @internal */
export const slotCount = 16384

/**
 * What stands between `{` and `}` in the names of an owner. It decides on the slot: it must not be empty, nor end early.
 *
 * @internal
 */
export const tagOf = (owner: string): string =>
  owner === "" ? "%" : /[%}]/.test(owner) ? owner.replaceAll("%", "%25").replaceAll("}", "%7D") : owner

/** CRC-16 as Redis has it (XMODEM). */
const table = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1
  return crc & 0xffff
})

const slotOfBytes = (bytes: Uint8Array): number => {
  let crc = 0
  for (const byte of bytes) crc = ((crc << 8) ^ (table[((crc >> 8) ^ byte) & 0xff] ?? 0)) & 0xffff
  return crc % slotCount
}

const slotOfTag = (tag: string): number => {
  let crc = 0
  for (let index = 0; index < tag.length; index++) {
    const byte = tag.charCodeAt(index)
    if (byte > 127) return slotOfBytes(Buffer.from(tag))
    crc = ((crc << 8) ^ (table[((crc >> 8) ^ byte) & 0xff] ?? 0)) & 0xffff
  }
  return crc % slotCount
}

/** @internal */
export const ownerSlot = (owner: string): number => slotOfTag(tagOf(owner))

/**
 * Of a name that has a tag.
 *
 * @internal
 */
export const slotOf = (name: string): number => {
  const open = name.indexOf("{")
  return slotOfTag(name.slice(open + 1, name.indexOf("}", open)))
}
