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
  /** Writes the texts of errors too, which may quote what was said. Default false. */
  readonly withProblems?: boolean
}

/** A logger that writes through pino. Only plain fields go through: an object in their place, whoever put it there, is left out. */
export function pinoLogger({ pino: given, level = 'info', destination, withProblems = false }: PinoLoggerOptions = {}): Logger {
  const target = given ?? (destination ? pino({ level }, destination) : pino({ level }))
  const written = (fields: LogFields = {}): LogFields =>
    Object.fromEntries(
      Object.entries(fields).filter(
        // Types are gone at run time, and a message or an error would be written whole.
        ([name, value]) => (value === null || typeof value !== 'object') && (withProblems || name !== 'problem'),
      ),
    )
  return {
    debug: (message, fields) => target.debug(written(fields), message),
    info: (message, fields) => target.info(written(fields), message),
    warn: (message, fields) => target.warn(written(fields), message),
    error: (message, fields) => target.error(written(fields), message),
  }
}
