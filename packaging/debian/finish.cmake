# Run by cpack before it packs: what Debian has compressed, and nothing that
# only this machine can use.
file(GLOB_RECURSE pages "${CPACK_TEMPORARY_DIRECTORY}/usr/share/man/*.[15]")
file(RENAME "${CPACK_TEMPORARY_DIRECTORY}/usr/share/doc/kerf/CHANGELOG.md"
  "${CPACK_TEMPORARY_DIRECTORY}/usr/share/doc/kerf/changelog")
execute_process(COMMAND gzip -9n ${pages}
  "${CPACK_TEMPORARY_DIRECTORY}/usr/share/doc/kerf/changelog"
  COMMAND_ERROR_IS_FATAL ANY)
