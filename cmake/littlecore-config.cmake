# find_package(littlecore CONFIG), then target_link_libraries(program PRIVATE littlecore::littlecore): the C ABI.
get_filename_component(littlecore_prefix "${CMAKE_CURRENT_LIST_DIR}/.." ABSOLUTE)
if(NOT TARGET littlecore::littlecore)
  file(GLOB littlecore_library "${littlecore_prefix}/lib/liblittlecore.*")
  add_library(littlecore::littlecore SHARED IMPORTED)
  set_target_properties(littlecore::littlecore PROPERTIES
    IMPORTED_LOCATION "${littlecore_library}"
    INTERFACE_INCLUDE_DIRECTORIES "${littlecore_prefix}/include")
endif()
