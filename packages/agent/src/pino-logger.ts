/** The entry point `@colloquy/agent/pino`: apart, since `pino` is an optional peer. */
import { type DestinationStream, type LevelWithSilent, type Logger as Pino, pino } from 'pino'
import type { LogFields, Logger } from './logger.ts'

export interface PinoLoggerOptions {
  /** Yours, with its own bindings, redaction and transports; `level` and `destination` are then its own. */
  readonly pino?: Pick<Pino, keyof Logger>
  /** Default `info`. */
  readonly level?: LevelWithSilent
  /** Default stdout, line by line. */
  readonly destination?: DestinationStream
}

/** A logger that writes through pino. Only plain fields go through: an object in their place, whoever put it there, is left out. */
export function pinoLogger({ pino: given, level = 'info', destination }: PinoLoggerOptions = {}): Logger {
  const target = given ?? (destination ? pino({ level }, destination) : pino({ level }))
  return {
    debug: (fields, message) => target.debug(plain(fields), message),
    info: (fields, message) => target.info(plain(fields), message),
    warn: (fields, message) => target.warn(plain(fields), message),
    error: (fields, message) => target.error(plain(fields), message),
  }
}

/** Types are gone at run time, and a message or an error would be written whole. */
function plain(fields: LogFields): LogFields {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value === null || typeof value !== 'object'))
}
